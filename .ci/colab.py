"Every notebook by itself, as a reader opens it on Colab: an empty folder, the wheel, and the extras that its install cell names"
import json,os,re,shutil,subprocess,sys,tempfile,time
from pathlib import Path
from fastcore.all import call_parse,first
from readme import directives,root,text

def run(*args, **kw): return subprocess.run([*map(str, args)], check=True, **kw)

def asked(nb):
    "What the install cell asks pip for, e.g. ['sherl_nb[minilm]']"
    found = [m for c in nb['cells'] for m in re.findall(r'-e /content \].*pip install -Uqq ([^#&\n]*)', text(c['source']))]
    return [w.strip('\'"') for m in found for w in m.split()]

def fetch(nb, folder):
    "What the install cell fetches from the repository, from this clone"
    for line in (l for c in nb['cells'] for l in text(c['source']).splitlines() if '[ -e /content ]' in l and 'wget' in l):
        into = folder/(first(re.findall(r'-\w*P (\S+)', line)) or '.'); into.mkdir(parents=True, exist_ok=True)
        for name in re.findall(r'https://raw\.githubusercontent\.com/[^/\s]+/[^/\s]+/[^/\s]+/(\S+)', line): shutil.copy(root/name, into)

def pip(python, *args): run(python, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', *args, stdout=sys.stderr)

class Places:
    "Environments: one with the wheel and what it needs, and a thin one on top of it for each set of extras"
    def __init__(self, tmp):
        self.tmp,self.known = tmp,{}
        for o in tmp.glob('*.whl'): o.unlink()
        copy = tmp/'source'; shutil.rmtree(copy, ignore_errors=True)        # a build leaves files behind, which would end up in the next wheel
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns('.git', 'build', '_docs', '_proc', '*.egg-info'))
        run(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', tmp, copy)
        self.wheel = first(tmp.glob('*.whl')); base = self.made('base', ['sherl_nb','ipykernel'])          # a kernel is what Colab brings
        self.site = run(base, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))', capture_output=True, text=True).stdout.strip()

    def made(self, name, wanted, below=''):
        "The Python of an environment that has what `wanted` names"
        out = self.tmp/name; python = out/'bin'/'python'
        if not python.exists():
            run(sys.executable, '-m', 'venv', out)
            if below: (first(out.glob('lib/python*/site-packages'))/'base.pth').write_text(below)
            pip(python, *[re.sub(r'^sherl_nb(\[[\w,-]+\])?$', rf'sherl_nb\1 @ {self.wheel.as_uri()}', w) for w in wanted])
        pip(python, '--force-reinstall', '--no-deps', self.wheel)           # where the environment is of another run
        return python

    def __call__(self, wanted):
        "The Python of the environment for an install cell"
        name = re.sub(r'\W+', '_', ' '.join(wanted))
        if name not in self.known: self.known[name] = self.made(name, wanted, self.site)
        return self.known[name]

def runs(c, left_out):
    "Whether a code cell is one that a reader runs"
    d = directives(text(c['source']))[0]
    return c['cell_type']!='code' or (d.get('eval')!='false' and not left_out & d.keys())

def execute(nb, python, folder):
    "Run the cells in a kernel of that Python; the error, or ''"
    import nbformat
    from jupyter_client import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError,DeadKernelError
    class Kernel(AsyncKernelManager):
        def format_kernel_cmd(self, extra_arguments=None): return [str(python), '-m', 'ipykernel_launcher', '-f', self.connection_file]
    client = NotebookClient(nbformat.from_dict(nb), timeout=None, kernel_manager_class=Kernel, resources=dict(metadata=dict(path=str(folder))))
    try: client.execute(env=os.environ | dict(PATH=f'{python.parent}{os.pathsep}{os.environ["PATH"]}'))
    except (CellExecutionError,DeadKernelError) as e: return re.sub(r'\x1b\[[\d;]*m', '', str(e))
    return ''

@call_parse
def main(
    only:str='', # Run only notebooks that have this in their path
    keep:str='', # Folder for the environments, used again when it is there; a temporary one if not given
):
    "Run every notebook with only the package and the extras it installs, and close with `N passed, N failed`"
    from test import notebooks,rel,settings
    flags,tmp = set(settings()['tst_flags'].split()), Path(keep or tempfile.mkdtemp()).resolve()
    tmp.mkdir(parents=True, exist_ok=True)
    for k,v in dict(HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', SHERL_NB_DATA=str(tmp/'data')).items(): os.environ[k] = v
    for k in 'PYTHONPATH','VIRTUAL_ENV': os.environ.pop(k, None)
    places,res = Places(tmp), []
    shutil.copytree(root/'nbs'/'data', tmp/'data', dirs_exist_ok=True)          # in the place of the release
    for p in notebooks():
        if only not in rel(p): continue
        nb = whole = json.loads(p.read_text(encoding='utf-8')); python = places(asked(nb))
        nb = nb | dict(cells=[c | dict(source=text(c['source'])) | (dict(outputs=[]) if c['cell_type']=='code' else {}) for c in nb['cells'] if runs(c, flags)])
        with tempfile.TemporaryDirectory() as folder:
            fetch(whole, Path(folder)); start = time.time(); err = execute(nb, python, folder)
        print(f'{"FAIL" if err else "ok  "} {time.time()-start:6.1f} s  {rel(p)}', flush=True); res.append(not err)
        if err: print('\n'.join('    '+o for o in err.splitlines()[-40:]), flush=True)
    if not keep: shutil.rmtree(tmp)
    print(f'{sum(res)} passed, {len(res)-sum(res)} failed'); sys.exit(not res or not all(res))
