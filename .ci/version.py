"Check that a release tag is `v` and the version of settings.ini: `python .ci/version.py v0.1.0`"
import re,sys
from configparser import ConfigParser
from pathlib import Path

root = Path(__file__).resolve().parent.parent
ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
version = ini['DEFAULT']['version']
init = re.search(r'^__version__ = "(.*)"', (root/ini['DEFAULT']['lib_path']/'__init__.py').read_text(encoding='utf-8'), re.M)[1]

if len(sys.argv)!=2: sys.exit(__doc__)
if sys.argv[1]!=f'v{version}': sys.exit(f'The tag is {sys.argv[1]}, settings.ini has version {version}: tag v{version}, or set the version')
if init!=version: sys.exit(f'__init__.py has version {init}, settings.ini {version}: make them equal')
print(f'{sys.argv[1]} is version {version}')
