"Build the documentation site without Quarto and without a network: `python .ci/site.py`, then open _docs/index.html"
import html,re,shutil,subprocess,sys,time
from pathlib import Path
from fastcore.script import call_parse

root = Path(__file__).resolve().parent.parent
_math = re.compile(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', re.S)
_fonts = re.compile(r'@import\s*url\((["\']?)https?:[^)]*?\1\)\s*;')                       # from a network; a semicolon may stand in the address
_katex = re.compile(r'\s*<(?:link|script)[^>]*katex[^>]*>(?:</script>)?')

def mathml(page):
    "Formulas of a page as MathML, which browsers draw themselves"
    from latex2mathml.converter import convert
    def one(m): return f'<span class="math {m[1]}">{convert(html.unescape(m[2]), display="block" if m[1]=="display" else "inline")}</span>'
    return _katex.sub('', _math.sub(one, page))

def rename_staged(proc):
    "Give each staged notebook the name of its page, which smalldocs does not read from `output-file`, and lead links to it"
    import json,posixpath,yaml
    rel,names = lambda p: p.relative_to(proc).as_posix(), {}
    for p in sorted(proc.rglob('*.ipynb')):
        m = re.search(r'^output-file: *(\S+)\.html', ''.join(json.loads(p.read_text(encoding='utf-8'))['cells'][0]['source']), re.M)
        names[rel(p)] = rel(p.with_name(f'{m[1]}.ipynb')) if m else rel(p)
    def lead(folder, m):
        old = posixpath.normpath(posixpath.join(folder, m[2]))
        return m[1] + (posixpath.relpath(names[old], folder or '.') if old in names else m[2])
    def fix(o):
        if isinstance(o, dict): return {k: fix(v) for k,v in o.items()}
        return [fix(v) for v in o] if isinstance(o, list) else names.get(o, o)
    for old,new in names.items():
        nb,folder = json.loads((proc/old).read_text(encoding='utf-8')), posixpath.dirname(old)
        for c in nb['cells']:
            if c['cell_type']=='markdown': c['source'] = re.sub(r'(\]\()([^)#\s]+\.ipynb)', lambda m: lead(folder, m), ''.join(c['source']))
        (proc/old).unlink(); (proc/new).write_text(json.dumps(nb), encoding='utf-8')
    side = proc/'sidebar.yml'; side.write_text(yaml.safe_dump(fix(yaml.safe_load(side.read_text(encoding='utf-8'))), sort_keys=False), encoding='utf-8')

def stage():
    "nbdev's processing: signatures and links into the notebooks, hidden cells out of them"
    from nbdev.quarto import nbdev_sidebar,refresh_quarto_yml
    from nbdev.serve import proc_nbs
    shutil.rmtree(root/'_proc', ignore_errors=True)
    refresh_quarto_yml(); nbdev_sidebar(); proc_nbs(force=True, n_workers=2)
    proc = root/'_proc'
    if not proc.exists(): raise SystemExit('nbdev staged nothing')
    rename_staged(proc); return proc

@call_parse
def main(
    out:str='_docs', # Folder of the site, made anew
):
    "Stage, render, draw the formulas, and fail on a broken link"
    start = time.time(); proc = stage()
    run = lambda *a: subprocess.run([Path(sys.executable).with_name('smalldocs'), *a], cwd=proc, capture_output=True, text=True)
    said = run('check'); broken = [l for l in (said.stdout+said.stderr).splitlines() if 'broken link' in l.lower() and 'no broken' not in l.lower()]
    r = run('render')
    if r.returncode: raise SystemExit(r.stdout+r.stderr)
    site = next(p for p in (proc/'_docs', proc/'_site') if p.exists()); out = root/out
    shutil.rmtree(out, ignore_errors=True); shutil.copytree(site, out)
    for p in out.rglob('*.css'): p.write_text(_fonts.sub('', p.read_text(encoding='utf-8')), encoding='utf-8')
    pages = sorted(out.rglob('*.html'))
    for p in pages: p.write_text(mathml(p.read_text(encoding='utf-8')), encoding='utf-8')
    print(f'{len(pages)} pages in {time.time()-start:.0f} s', *broken, sep='\n')
    if broken: raise SystemExit(1)
