"Every figure in a page's prose must be in some output or source of that page, or of a page it links to"
# Not named `numbers.py`: that is a module of Python's own, and this folder is searched first
import json,posixpath,re,sys
from functools import cache
from html import unescape
from pathlib import Path
from fastcore.script import call_parse
from readme import root,text

number = r'\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?'
_number = re.compile(rf'(?<![\w.,])[-−]?(?<!\w-)({number})(?![\w]|[.,]\d)')
_any = re.compile(rf'(?<![\d.])({number}|\.\d+)')
_not_prose = re.compile(r'^ *```.*?^ *```|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$|<[^>\n]+>|https?://\S+|arXiv[: ]\S+|#\d+|\b(?:[Ss]ections?|[Tt]ables?|[Ee]quations?) \d[\d.]*|^\*Reading:[^\n]*$|^#+ *\d+\.|^ *\d+\. ', re.M|re.S)
_target = re.compile(r'\]\(([^)\s]+)[^)]*\)')
_year = re.compile(r'(?:19|20)\d\d$')

def value(s): return float(s.replace(',', ''))
def decimals(s): return len(re.sub(r'e.*', '', s).partition('.')[2])

@cache
def cells(p): return json.loads(p.read_text(encoding='utf-8'))['cells']

def printed(o):
    "What an output says, as text"
    d = o.get('data', {}); html = re.sub(r'<[^>]+>', ' ', re.sub(r'<style.*?</style>', '', text(d.get('text/html', '')), flags=re.S))
    return ' '.join([text(o.get('text', '')), text(d.get('text/plain', '')), text(d.get('text/markdown', '')), unescape(html)])

@cache
def pool(p):
    "All numbers in the code and the outputs of notebook `p`, as (in code, in outputs)"
    code = [c for c in cells(p) if c['cell_type']=='code']
    def numbers(s): return {value(o) for o in _any.findall(re.sub(r'(?<=\d)_(?=\d)', '', s))}
    return numbers(' '.join(text(c['source']) for c in code)), numbers(' '.join(printed(o) for c in code for o in c['outputs']))

def prose(c): return _target.sub(']', _not_prose.sub(' ', text(c['source'])))

def linked(p):
    "Notebooks that `p` links to"
    to = {t.partition('#')[0] for c in cells(p) if c['cell_type']=='markdown' for t in _target.findall(text(c['source']))}
    return [q for t in sorted(to) if t.endswith('.ipynb') and ':' not in t and (q := Path(posixpath.normpath((p.parent/t).as_posix()))).exists()]

def found(s, percent, pools):
    "Is the figure `s` there: as it is in code, to its own precision in an output?"
    v,k = value(s),decimals(s); scales = (1,100) if percent else (1,)
    if 'e' in s: return any(abs(u-v)<=1e-6*v for code,out in pools for u in code|out)
    return any(v in code or any(abs(round(u*f, k)-v)<1e-9 for f in scales for u in code|out) for code,out in pools)

def missing(p):
    "Figures of notebook `p` that are nowhere, each with the words around it"
    pools = [pool(q) for q in [p, *linked(p)]]
    for c in cells(p):
        if c['cell_type']!='markdown': continue
        for m in _number.finditer(s := prose(c)):
            if _year.match(m[1]) or found(m[1], re.match(r'\s*(?:%|per cent)', s[m.end():]), pools): continue
            yield m[1], ' '.join(s[max(m.start()-45, 0):m.end()+30].split())

def exceptions():
    "(page, figure) pairs of `figures.txt`: `page figure reason`, a line each"
    lines = (o.split(None, 2) for o in (root/'.ci/figures.txt').read_text(encoding='utf-8').splitlines() if o.strip() and not o.startswith('#'))
    return {(page,fig): reason for page,fig,reason in lines}

def check_figures(only=''):
    "Every figure in prose is in some output or source of its page, or of a page it links to"
    allowed,bad,used = exceptions(),[],set()
    for p in sorted((root/'nbs').rglob('*.ipynb')):
        page = p.relative_to(root/'nbs').as_posix()
        if only not in page or any(o.startswith(('.','_')) for o in Path(page).parts): continue
        for fig,words in missing(p):
            if (page,fig) in allowed: used.add((page,fig))
            else: bad.append(f'nbs/{page}: {fig} in "… {words} …"')
    if not only: bad += [f'.ci/figures.txt: {page} {fig} is not needed any more' for page,fig in sorted(allowed.keys()-used)]
    return bad

@call_parse
def main(only:str=''): # Only pages with this in their path
    "Name the figures that come from nowhere"
    bad = check_figures(only)
    print('\n'.join(bad) or 'Every figure has its cell', flush=True)
    sys.exit(bool(bad))
