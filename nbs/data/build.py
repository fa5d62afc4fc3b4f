"""Make the data of the small tasks from named packages: `python nbs/data/build.py [folder for the downloads]`

Every package is fetched by its own client (npm, pip, apt-get) in a fixed version, and refused if its bytes are other ones.
No random generator: what goes where is decided by SHA-1 of names. Byte for byte the same with pillow 13.0.0 and pyarrow 26.0.1."""
import hashlib, io, json, re, subprocess, sys, tarfile
from collections import defaultdict
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from PIL import Image

here = Path(__file__).parent
npm = {
    '@lobehub/fluent-emoji-3d@1.1.0':     'c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58',
    '@lobehub/fluent-emoji-anim-1@1.0.0': '4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea',
    '@lobehub/fluent-emoji-anim-2@1.0.0': 'e431da8172e394036c330faa77648d6fbbae1fd3b0be95637c4497c9075019c0',
    '@lobehub/fluent-emoji-anim-3@1.0.0': '3624d0c34c819c1794b74ccf6ae9034adff7c4cb6318dd2a645145f0196feb43',
    '@lobehub/fluent-emoji-anim-4@1.0.0': '3d4c08f1e321f70808ef4996aba0ab575a9d97b6c56ffffc92cf6161a7836aa3',
    'emoji-datasource-google@16.0.0':     'fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438',
    'emojibase-data@17.0.0':              'd01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a'}
wordnet = 'wordnet-base=1:3.0-37', '61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752'

def sha1(s): return hashlib.sha1(s.encode()).hexdigest()

# %% Fetching
def checked(path, sha256):
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != sha256: raise ValueError(f'{path} is not the expected file: its sha256 is {got}, expected {sha256}. Delete it and start again.')
    return path

def fetch(folder):
    "Package → folder of its files"
    out = {}
    for p,sha in npm.items():
        name, version = p.rsplit('@', 1)
        f = folder/f'{name.lstrip("@").replace("/", "-")}-{version}.tgz'
        if not f.exists(): subprocess.run(['npm','pack',p], cwd=folder, check=True, capture_output=True)
        out[name] = folder/f.stem/'package'
        if not out[name].exists():
            with tarfile.open(checked(f, sha)) as tar: tar.extractall(folder/f.stem, filter='data')
    return out

def fetch_wordnet(folder):
    "Folder of WordNet's own files"
    pattern = 'wordnet-base_*.deb'
    if not list(folder.glob(pattern)): subprocess.run(['apt-get','download',wordnet[0]], cwd=folder, check=True, capture_output=True)
    deb = checked(next(folder.glob(pattern)), wordnet[1])
    subprocess.run(['dpkg-deb','-x',deb,folder/'wn'], check=True)
    return folder/'wn/usr/share/wordnet'

def code(s): return s.lower().replace('-fe0f', '')   # without variation selectors
def files(folder, suffix): return {code(f.stem): f for f in sorted(folder.glob(f'*{suffix}'))}
def read_json(f): return json.loads(f.read_text(encoding='utf-8'))

# %% Names
# One concept for all pictures that differ by gender, hair, direction, hour or paint only: pattern of the whole name → concept
families = {r'.*(o’clock|-thirty)': 'clock face', r'.* moon( face)?': 'moon', r'globe showing.*': 'globe', r'kiss: .*': 'kiss', r'family: .*': 'family',
    r'(red|pink|orange|yellow|green|blue|light blue|purple|brown|black|grey|white) heart': 'plain heart', r'(closed|open|green|blue|orange) book': 'book',
    r'.*mailbox.*': 'mailbox', r'(un)?locked.*': 'lock', r'.*speaker( .* volume)?': 'speaker', r'.*umbrella( .*)?': 'umbrella', r'.*banknote': 'banknote',
    r'sun behind.*|cloud( with .*)?': 'cloud', r'... place medal': 'medal', r'magnifying glass.*': 'magnifying glass', r'hourglass.*': 'hourglass',
    r'mermaid|merman|merperson': 'merperson', r'.* claus': 'claus', r'prince(ss)?': 'prince', r'.*traffic light': 'traffic light', r'.*wheelchair.*': 'wheelchair',
    r'.*(train|metro|light rail|railway car)|tram( car)?': 'train', r'(guide|service) dog': 'dog', r'snowman.*': 'snowman', r'.*baby chick|hatching chick': 'chick',
    r'(black|.*ing|weary) cat': 'cat', r'(left|right)-facing fist': 'fist', r'.*wards pushing hand': 'pushing hand', r'(right|left)wards hand': 'sideways hand',
    r'palm (up|down) hand': 'palm hand', r'thumbs (up|down)': 'thumb', r'backhand index.*': 'backhand index', r'(low )?battery': 'battery',
    r'linked paperclips': 'paperclip', r'round pushpin': 'pushpin', r'chart.*': 'chart', r'open file folder': 'file folder', r'cityscape.*': 'cityscape',
    r'sunrise.*': 'sunrise', r'musical notes': 'musical note', r'two-hump camel': 'camel', r'nest with eggs|empty nest': 'nest', r'clinking .*': 'clinking glasses',
    r'(derelict )?houses?( with garden)?': 'house', r'bell with slash': 'bell', r'camera with flash': 'camera', r'optical disk|dvd': 'optical disk',
    r'mobile phone.*': 'mobile phone', r'.* holding hands': 'holding hands', r'older person|old (wo)?man': 'old person', r'boy|girl': 'child', r'(wo)?man dancing': 'ballet dancer'}

def concept(entry):
    "What stays of a name when gender, direction and the like are taken out"
    name = entry['label'].lower()
    for pattern,family in families.items():
        if re.fullmatch(pattern, name): return family
    if entry['group'] == 1: return ' '.join(re.sub(r'\b(person|people|(wo)?m[ae]n|mx|mrs\.)\b|:.*', '', name).split()) or 'person'
    return re.sub(r'^oncoming | face$', '', name) if entry['group'] in (3,5) else name

# What a picture is called in a scene, by its subgroup of Unicode's list; things that would make a question debatable are left out
kinds = {'face': range(14), 'animal': range(34,40), 'plant': (40,41), 'food item': range(42,47), 'drink': (47,), 'building': (51,52), 'vehicle': (54,55,56),
         'garment': (65,), 'gadget': (69,70,71), 'tool': (75,78)}
debatable = set('''skull and crossbones; pile of poo; monkey face; see-no-evil monkey; hear-no-evil monkey; speak-no-evil monkey; skull; pig nose; paw prints;
hatching chick; feather; wing; spiral shell; coral; oyster; spider web; microbe; bouquet; rosette; empty nest; nest with eggs; mushroom; sheaf of rice;
fallen leaf; leaf fluttering in wind; maple leaf; salt; pot of food; canned food; pouring liquid; ice; mate; baby bottle; stadium; building construction; brick;
rock; wood; wedding; Statue of Liberty; Tokyo tower; kaaba; houses; manual wheelchair; motorized wheelchair; skateboard; roller skate; bus stop; motorway;
railway track; oil drum; fuel pump; wheel; police car light; horizontal traffic light; vertical traffic light; stop sign; construction; anchor; ring buoy; station;
parachute; seat; satellite; flying saucer; airplane departure; airplane arrival; mountain railway; suspension railway; folding hand fan; purse; handbag; clutch bag;
shopping bags; backpack; hair pick; prayer beads; lipstick; ring; gem stone; glasses; sunglasses; goggles; crown; battery; low battery; electric plug; abacus;
optical disk; dvd; computer disk; floppy disk; film frames; clapper board; magnifying glass tilted left; magnifying glass tilted right; candle; light bulb;
red paper lantern; diya lamp; mobile phone with arrow; telephone receiver; videocassette; hammer and pick; hammer and wrench; dagger; crossed swords; bomb;
boomerang; bow and arrow; shield; gear; nut and bolt; balance scale; white cane; link; broken chain; chains; black nib; memo'''.replace('\n', ' ').split('; '))

also = {k: v for v,names in {'tool': 'scissors; broom; sewing needle; straight ruler; plunger; thread', 'gadget': 'radio; headphone; microphone; studio microphone; joystick; video game; satellite antenna'}.items() for k in names.split('; ')}

def kind(entry):
    "Name of the picture's kind in scenes, or nothing"
    return also.get(entry['label']) or next((k for k,subgroups in kinds.items() if entry['subgroup'] in subgroups and entry['label'] not in debatable), '')

def dealt(rows, parts={'test': .22, 'validation': .1, 'train': .68}):
    "Concept → split, in the same proportions for every kind of thing; all pictures of a concept go to the same one"
    out, groups = {}, defaultdict(dict)
    for r in rows: groups[r['kind'] or r['category']].setdefault(r['concept'], []).append(r)
    for concepts in groups.values():
        order = sorted((c for c in concepts if c not in out), key=sha1)
        ends, total = [], 0
        for p in parts.values(): total += p; ends.append(total)
        for i,c in enumerate(order): out[c] = next(s for s,e in zip(parts, ends) if i+.5 < e*len(order) + 1e-9)
    return out

# %% Pictures
def webp(im, **kwargs):
    out = io.BytesIO()
    im.save(out, 'WEBP', method=4, **kwargs)
    return out.getvalue()

def cutout(file, side=144, **kwargs):
    "The drawing without its empty margin, at most `side` pixels long, with transparency"
    im = Image.open(file).convert('RGBA')
    im = im.crop(im.getchannel('A').getbbox())
    im.thumbnail((side, side), Image.Resampling.LANCZOS)
    return webp(im, **kwargs)

def film(file, n=8, side=96):
    "`n` frames of an animation at even distances, on white; nothing if it stands still"
    im = Image.open(file)
    total, frames = getattr(im, 'n_frames', 1), []
    if total < n: return None
    for i in range(n):
        im.seek(int((i+.5)*total/n))
        frame = im.convert('RGBA').resize((side, side), Image.Resampling.LANCZOS)
        frames.append(Image.alpha_composite(Image.new('RGBA', frame.size, 'white'), frame).convert('RGB'))
    moves = any(a.tobytes() != frames[0].tobytes() for a in frames[1:])
    return [webp(f, quality=75) for f in frames] if moves else None

def emoji_table(packages, most=6):
    "One row a picture: drawn twice (Fluent, Noto), its name, tags, concept, kind and split; at most `most` pictures of a concept"
    fluent, noto = files(packages['@lobehub/fluent-emoji-3d']/'assets', '.webp'), files(packages['emoji-datasource-google']/'img/google/64', '.png')
    groups, rows, seen = read_json(packages['emojibase-data']/'meta/groups.json')['groups'], [], defaultdict(int)
    for e in sorted(read_json(packages['emojibase-data']/'en/data.json'), key=lambda e: e.get('order', 0)):
        c = code(e['hexcode'])
        if e.get('group') in (None,2,8,9) or c not in fluent or c not in noto: continue  # components, symbols, flags
        seen[concept(e)] += 1
        if seen[concept(e)] <= most:
            rows.append(dict(code=c, name=e['label'], tags=e.get('tags', []), category=groups[str(e['group'])], concept=concept(e), kind=kind(e)))
    split = dealt(rows)
    for r in rows: r.update(split=split[r['concept']], fluent=cutout(fluent[r['code']], quality=80), noto=cutout(noto[r['code']], quality=85))
    return rows

def clips_table(packages, emoji):
    "One row an animation: eight frames, under the name of the same picture"
    found = {}
    for name,folder in packages.items():
        if 'anim' in name: found |= files(folder/'assets', '.webp')
    films = ((r['code'], film(found[r['code']])) for r in emoji if r['code'] in found)
    return [dict(code=c, frames=f) for c,f in films if f]

# %% Sentences
def synsets(folder):
    "(part of speech, offset, lemmas, definition, examples) of every synset"
    for pos in 'noun','verb','adj','adv':
        for line in open(folder/f'data.{pos}', encoding='latin-1'):
            if line.startswith('  '): continue   # the licence
            head, gloss = line.split('|', 1)
            w = head.split()
            lemmas = [re.sub(r'\(\w+\)$', '', o).replace('_', ' ') for o in w[4:4+2*int(w[3], 16):2]]
            definition = ' '.join(re.sub(r'"[^"]*"?', '', gloss).split(';')[0].split()).rstrip(' :,')
            yield pos, w[0], lemmas, definition, re.findall(r'"([^"]+)"', gloss)

def gloss_pairs(folder, sizes={'train': 6000, 'validation': 1000, 'test': 2000}):
    "A word, a definition of it, and a sentence: is it used in that sense? No word is in two splits, no definition and no sentence in two pairs"
    senses, found = defaultdict(list), []
    for pos,offset,lemmas,definition,examples in synsets(folder):
        for l in lemmas: senses[pos, l.lower()].append((offset, definition))
        for l in lemmas: found += [(pos, l.lower(), offset, definition, e) for e in examples if re.search(rf'(?<![\w-]){re.escape(l)}(?![\w-])', e, re.I)]
    found.sort(key=lambda r: sha1('\t'.join(r)))
    used, rows = set(), defaultdict(list)
    for pos,word,offset,right,sentence in found:
        others = sorted((d for o,d in senses[pos, word] if o != offset and d != right), key=lambda d: sha1(word+d))
        at = int(sha1(word)[:4], 16) / 2**16   # where the word's pairs go
        split = 'test' if at < .25 else 'validation' if at < .37 else 'train'
        label = len(rows[split]) % 2           # the pairs of a split take turns
        definition = right if label else next((d for d in others if d not in used), None)
        if not others or not definition or {definition, sentence} & used or len(rows[split]) == sizes[split]: continue
        used |= {definition, sentence}
        rows[split].append(dict(word=word, definition=definition, sentence=sentence, label=label, split=split))
    return [r for s in sizes for r in rows[s]]

# %% Scenes and files
def scene_tables(emoji):
    "Layouts with questions and with expressions; the code that makes them is a lesson, nbs/08b_scenes.ipynb"
    from sherl_nb.scenes import kinds as order, make_questions, make_expressions, known_to_all
    def of(split, half=None):
        own = [r for r in emoji if r['split']==split and r['kind'] and (half is None or int(sha1(r['concept']+'?'), 16) % 2 == half)]
        return {k: [dict(code=r['code'], name=r['name']) for r in own if r['kind']==k] for k in order}
    def rows(made, split, what):
        keep = 'code','kind','colour','x','y','side'
        return [dict(split=split, things=[{k: t[k] for k in keep} for t in m['things']], **{what: [dict(zip(('kind','text','answer'), q)) for q in m[what]]}) for m in made]
    asked = [r for s,n in [('train',3000), ('validation',400), ('test',800)] for r in rows(make_questions(of(s), n, f'questions {s}'), s, 'questions')]
    parts = [('pretrain',5000,of('train',0),known_to_all), ('train',2000,of('train',1),None), ('seen',400,of('train',1),None), ('validation',300,of('validation'),None), ('test',500,of('test'),None)]
    meant = [r for s,n,own,allowed in parts for r in rows(make_expressions(own, n, f'expressions {s}', *filter(None, [allowed])), s, 'expressions')]
    return asked, meant

def content_sha256(rows):
    "Hash over the rows in their order, whatever wrote the Parquet file"
    return hashlib.sha256(json.dumps(rows, sort_keys=True, default=lambda b: hashlib.sha256(b).hexdigest()).encode()).hexdigest()

def main(downloads):
    downloads.mkdir(parents=True, exist_ok=True)
    packages = fetch(downloads)
    emoji = emoji_table(packages)
    def write(name, rows):
        pq.write_table(pa.Table.from_pylist(rows), here/name, compression='zstd')
        f = here/name
        print(f'{name:20} {len(rows):6} rows {f.stat().st_size:9} bytes  file {hashlib.sha256(f.read_bytes()).hexdigest()}  content {content_sha256(rows)}', flush=True)
    write('emoji.parquet', emoji)
    write('clips.parquet', clips_table(packages, emoji))
    write('gloss_pairs.parquet', gloss_pairs(fetch_wordnet(downloads)))
    for name,rows in zip(['questions.parquet','expressions.parquet'], scene_tables(emoji)): write(name, rows)

if __name__ == '__main__': main(Path(sys.argv[1] if len(sys.argv) > 1 else here/'build'))
