"Make README.md from nbs/index.ipynb, without Quarto or pandoc"
import difflib,json,posixpath,re,sys
from pathlib import Path
from fastcore.script import call_parse

root = Path(__file__).resolve().parent.parent
note = '<!-- Made from nbs/index.ipynb by .ci/readme.py: edit the notebook, not this file -->'
_directive = re.compile(r'#\|\s*([\w-]+)\s*:?\s*(.*)')
_code = re.compile(r'(^ *```.*?^ *```|`[^`\n]+`)', re.M|re.S)
_target = re.compile(r'(\]\(|^\[[^\]\n]+\]: *|\b(?:src|href)=")([^)\s">]+)', re.M)

def text(o): return o if isinstance(o,str) else ''.join(o)
def indent(s): return '\n'.join('    '+o if o else '' for o in s.splitlines())
def fence(s): return f'```python\n{s}\n```'

def plain(s):
    "`s` as a terminal would leave it: no colours, no overwritten progress bars"
    s = re.sub(r'\x1b\[[\d;]*[a-zA-Z]', '', s)
    return '\n'.join(o.rstrip('\r').rpartition('\r')[2].rstrip() for o in s.split('\n')).strip('\n')

def directives(src):
    "The `#| name: value` lines at the top of a cell as a dict, and the source below them"
    ls,d = src.strip().splitlines(),{}
    while ls and (m:=_directive.fullmatch(ls[0].rstrip())): d[m[1]] = m[2] or 'true'; ls.pop(0)
    return d,'\n'.join(ls).strip('\n')

def relink(m):
    "A link as seen from the root: `00_redundancy.ipynb` -> `nbs/00_redundancy.ipynb`"
    if re.match(r'\w+:|[#/]', m[2]): return m[0]
    return m[1] + posixpath.normpath(posixpath.join('nbs', m[2]))

def markdown(src):
    "Markdown as GitHub reads it: links from the root, no Quarto divs or `{...}` attributes"
    def prose(s):
        s = re.sub(r'^:::.*\n?', '', s, flags=re.M)
        return _target.sub(relink, re.sub(r'(\]\([^)\n]*\))\{[^}\n]*\}', r'\1', s))
    parts = _code.split(src)
    return ''.join(o if i%2 else prose(o) for i,o in enumerate(parts)).strip()

def front(src):
    "Title and subtitle, without nbdev's `- key: value` lines, and the note that this file is made"
    title,_,rest = src.partition('\n')
    return f'{title}\n\n{note}\n\n' + re.sub(r'^- [\w-]+:.*\n?', '', rest, flags=re.M).strip()

def output(o, asis):
    "One output of a code cell as Markdown"
    if o['output_type']=='error': raise ValueError(f"nbs/index.ipynb holds an error: {o['ename']}: {o['evalue']}. Run the notebook again")
    if o['output_type']=='stream':
        if o['name']=='stderr': return ''
        return plain(text(o['text'])) if asis else indent(plain(text(o['text'])))
    d = o['data']
    if 'text/markdown' in d: return markdown(text(d['text/markdown']))
    if any(k.startswith('image/') for k in d):
        raise ValueError('nbs/index.ipynb shows a picture as an output. Save it under nbs/images and show it in Markdown: ![...](images/name.png)')
    return indent(plain(text(d.get('text/plain', ''))))

def cell_blocks(c):
    "What is seen of a cell, as a list of Markdown blocks"
    d,src = directives(text(c['source']))
    if {'hide','default_exp'} & d.keys() or d.get('include')=='false': return []
    if c['cell_type']=='markdown': return [markdown(front(src) if src.startswith('# ') else src)]
    if c['cell_type']!='code': return []
    src = '\n'.join(o for o in src.splitlines() if not re.search(r'#\|\s*hide_line\s*$', o))
    asis = d.get('output')=='asis'
    outs = [] if d.get('output')=='false' else [output(o, asis) for o in c['outputs']]
    return ([] if d.get('echo')=='false' or not src else [fence(src)]) + outs

def make(
    nb:Path=root/'nbs/index.ipynb', # The home page
) -> str: # README.md
    "The README that follows from the home page"
    cells = json.loads(Path(nb).read_text(encoding='utf-8'))['cells']
    return '\n\n'.join(o for c in cells for o in cell_blocks(c) if o) + '\n'

def diff():
    "What differs between README.md and the one that `make` gives, as a unified diff"
    f = root/'README.md'
    old = f.read_text(encoding='utf-8') if f.exists() else ''
    return ''.join(difflib.unified_diff(old.splitlines(True), make().splitlines(True), 'README.md', 'from nbs/index.ipynb'))

@call_parse
def main(
    check:bool=False, # Change nothing; show the difference, if any, and exit with 1
):
    "Make README.md from nbs/index.ipynb"
    if not check: (root/'README.md').write_text(make(), encoding='utf-8', newline='\n')
    elif d:=diff(): sys.exit(d + 'README.md is not what nbs/index.ipynb gives: run `python .ci/readme.py`')
