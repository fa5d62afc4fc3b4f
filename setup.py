"Package metadata comes from settings.ini; edit it there"
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_namespace_packages

ini = ConfigParser(delimiters=['='])
ini.read('settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
lib = cfg['lib_path']

def lines(k): return cfg[k].strip().splitlines()

def absolute(m):
    "The README's relative links, as they must be on a page outside the repository"
    kind = 'raw' if Path(m[1]).suffix in ('.png', '.svg', '.webp', '.gif') else 'blob'
    return f"]({cfg['git_url']}/{kind}/{cfg['branch']}/{m[1]})"

readme = Path('README.md').read_text(encoding='utf-8')

setup(
    version=cfg['version'], author=cfg['author'], author_email=cfg['author_email'],
    license_expression=cfg['license'], license_files=['LICENSE', f'{lib}/data/*LICENSE*'],
    keywords=cfg['keywords'], classifiers=lines('classifiers'),
    long_description=re.sub(r'\]\((?!\w+:|#)([^)\s]+)\)', absolute, readme), long_description_content_type='text/markdown',
    packages=find_namespace_packages(include=[lib, f'{lib}.*']), package_data={f'{lib}.data': ['*']},
    install_requires=cfg['requirements'].split(),
    extras_require={k.removesuffix('_requirements'): v.split() for k,v in cfg.items() if k.endswith('_requirements')},
    entry_points=dict(nbdev=[f'{lib}={lib}._modidx:d'], console_scripts=lines('console_scripts')))
