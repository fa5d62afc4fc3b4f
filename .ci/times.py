"Write at the top of each page how long it takes to read and to run: `python .ci/test.py > log; python .ci/times.py --log log`"
import json,re
from pathlib import Path
from fastcore.script import call_parse
from readme import root,text

pattern = re.compile(r'^\*Reading: .*?\*\n\n')

def reading(cells):
    "Minutes: 220 words a minute, and 12 lines of shown code"
    prose = sum(len(re.findall(r'\w+', text(c['source']))) for c in cells if c['cell_type']=='markdown')
    code = sum(text(c['source']).count('\n')+1 for c in cells if c['cell_type']=='code' and '#| hide' not in text(c['source']))
    return max(1, round(prose/220 + code/12/5))

def running(secs): return f'{max(5, 5*round(secs/5))} seconds' if secs<57 else f'{round(secs/60) or 1} minute{"s" if round(secs/60)>1 else ""}'

def line(nb, secs):
    slow = any(re.match(r'#\| slow', l) for c in nb['cells'] if c['cell_type']=='code' for l in text(c['source']).splitlines()[:3])
    run = f' Running: {running(secs)} on two cores{", without the cells marked slow" if slow else ""}.' if secs else ''
    return f'*Reading: {(m := reading(nb["cells"]))} minute{"s" if m>1 else ""}.{run}*\n\n'

def first_prose(nb):
    "The first Markdown cell below the title"
    return [c for c in nb['cells'] if c['cell_type']=='markdown'][1]

@call_parse
def main(
    log:str='', # Output of `.ci/test.py`, with the seconds of each notebook; pages that it lacks keep theirs
):
    "Update the line of every page"
    seen = {m[2]: float(m[1]) for m in re.finditer(r'^ok +([\d.]+) s +(nbs/\S+\.ipynb)$', Path(log).read_text(), re.M)} if log else {}
    for p in sorted((root/'nbs').rglob('*.ipynb')):
        name = p.relative_to(root).as_posix()
        if p.name=='index.ipynb' or '.ipynb_checkpoints' in name: continue
        nb = json.loads(p.read_text(encoding='utf-8')); c = first_prose(nb); s = text(c['source'])
        if name not in seen and pattern.match(s): continue
        c['source'] = (line(nb, seen.get(name)) + pattern.sub('', s)).splitlines(True)
        p.write_text(json.dumps(nb, indent=1, ensure_ascii=False)+'\n', encoding='utf-8')
