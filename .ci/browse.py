"Look at the built site in a real browser (Debian's chromium, headless): titles, pictures, formulas, signatures, console, width"
import shutil,sys,threading
from functools import partial
from http.server import SimpleHTTPRequestHandler,ThreadingHTTPServer
from pathlib import Path
from fastcore.script import call_parse

root = Path(__file__).resolve().parent.parent
sizes = dict(desktop=(1280,900), phone=(390,844))
_look = '''() => {
  const box = [...document.querySelectorAll('math')].map(o => o.getBoundingClientRect());
  return dict = {title: document.title, plain: getComputedStyle(document.querySelector('.navbar')).backgroundColor=='rgba(0, 0, 0, 0)' || !/sans/i.test(getComputedStyle(document.body).fontFamily) ? 1 : 0, h1: document.querySelectorAll('h1').length, wide: document.documentElement.scrollWidth-window.innerWidth,
    broken: [...document.images].filter(o => o.complete && !o.naturalWidth && !o.src.endsWith('/colab-badge.svg')).map(o => o.getAttribute('src').slice(0,80)), unnamed: [...document.images].filter(o => !o.alt).length,
    images: document.images.length, formulas: box.length, flat: box.filter(o => o.width<2 || o.height<2).length, raw: (document.body.innerText.match(/\\\\\\(|\\\\\\[|\\\\frac|\\\\mathrm/g)||[]).length,
    signatures: [...document.querySelectorAll('h3[id]')].filter(o => /^\\s*(def|class|async def) /.test(o.nextElementSibling?.innerText||'')).length}}'''.replace('return dict =', 'return')

class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass

class Server(ThreadingHTTPServer):
    def handle_error(self, *args): pass                                     # a browser that leaves early

def browser():
    for n in 'chromium','chromium-browser','google-chrome':
        if p := shutil.which(n): return p
    raise SystemExit('No chromium here: apt-get install chromium')

@call_parse
def main(
    site:str='_docs', # Folder of the site
    shots:str='', # Folder for a screenshot of each page; none when empty
):
    "Visit every page at desktop and phone width; exit 1 if anything is wrong"
    from playwright.sync_api import sync_playwright
    site = root/site; pages = sorted(p for p in site.rglob('*.html') if 'site_libs' not in p.parts)
    server = Server(('127.0.0.1', 0), partial(Quiet, directory=str(site))); threading.Thread(target=server.serve_forever, daemon=True).start()
    at,wrong,count = f'http://127.0.0.1:{server.server_port}/', [], dict(images=0, formulas=0, signatures=0)
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=browser(), args=['--no-sandbox'])
        for name,(w,h) in sizes.items():
            ctx = b.new_context(viewport=dict(width=w, height=h), color_scheme='dark' if name=='phone' else 'light')
            ctx.route('**/*', lambda r: r.continue_() if r.request.url.startswith((at,'data:')) else r.abort())   # no network
            for f in pages:
                page,said = ctx.new_page(), []
                page.on('console', lambda m: said.append(m.text) if m.type=='error' and 'ERR_FAILED' not in m.text else None); page.on('pageerror', lambda e: said.append(str(e)))
                page.on('requestfailed', lambda r: said.append(f'asked for {r.url}') if not r.url.endswith('/colab-badge.svg') else None)
                page.goto(at+f.relative_to(site).as_posix(), wait_until='load'); o = page.evaluate(_look)
                for k in count: count[k] += o[k]
                faults = [f'{k}: {o[k]}' for k in ('broken','flat','raw','plain') if o[k]] + ([f"{o['wide']} pixels too wide"] if o['wide']>0 else []) + ([] if o['title'] and o['h1'] else ['no title']) + said
                if o['unnamed']: faults.append(f"{o['unnamed']} pictures without alt text")
                wrong += [f'{name} {f.relative_to(site)}: {x}' for x in faults]
                if shots: Path(shots).mkdir(parents=True, exist_ok=True); page.screenshot(path=f"{shots}/{name}_{f.relative_to(site).as_posix().replace('/','_')}.png", full_page=False)
                page.close()
            ctx.close()
        b.close()
    print(f'{len(pages)} pages, twice: ' + ', '.join(f'{v//2} {k}' for k,v in count.items()), *wrong, sep='\n')
    if wrong or not all(count.values()): sys.exit(1)
