"""Pre-train the small MDETR: `python nbs/data/pretrain_grounding.py [folder for features and checkpoints]`

10,000 scenes of the things and relations that pre-training may know (the 5,000 of expressions.parquet and 5,000 more from another seed),
Lite0 and MiniLM frozen and run once. A batch holds single expressions, or lists of all things in the scene ("the red animal and the bus
and …"), each phrase with its box. About 40 minutes on one core; stopped, it goes on from its last checkpoint.

The committed weights were made in sittings: the length of the cosine schedule was set anew at three checkpoints, and `horizon` repeats that.
Another run gives other weights of the same kind (the draws after a checkpoint depend on where it lies), not the same bytes."""
import math, random, sys, time
from collections import Counter
from pathlib import Path
import numpy as np, torch
from safetensors.torch import save_file
from torch import nn
from sherl_nb.assets import minilm
from sherl_nb.models.matching import cxcywh, overlaps, token_map, xyxy
from sherl_nb.scenes import alone, box_of, draw_scene, kinds, known_to_all, make_expressions, refer
from sherl_nb.models.mdetr import SinePosition
from sherl_nb.small.grounding import alone_network, n_place, named, own_state, positions, size, weights_file
from sherl_nb.small_backbones import lite0, pixels
from sherl_nb.small_data import emoji_rows, read_small

here = Path(__file__).parent
sides = 'to the left of', 'to the right of'
share = {'name': 1, 'phrase': .5, 'colour': 1, 'size': 1.3, **dict.fromkeys(sides, 1.3)}   # how often each kind is drawn
steps, B, peak_lr, warmup = 8000, 32, 7e-4, 150
def horizon(step): return 2600 if step<1000 else 4000 if step<2200 else 3000 if step<2800 else 8000   # length of the cosine schedule
def is_list(step): return step<800 or step%3==0 or (1600<=step<2600 and step%3==1)      # lists teach where things are

# %% Scenes
def all_scenes():
    "(key, things) of every scene"
    names = {r['code']: r['name'] for r in emoji_rows()}
    out = [(f'pretrain {i}', [dict(t, name=names[t['code']]) for t in s['things']]) for i,s in enumerate(read_small('expressions.parquet')) if s['split']=='pretrain']
    used = {t['code'] for _,things in out for t in things}
    by_kind = {k: [dict(code=r['code'], name=r['name']) for r in emoji_rows() if r['kind']==k and r['code'] in used] for k in kinds}
    return out + [(f'more {i}', s['things']) for i,s in enumerate(make_expressions(by_kind, 5000, 'more to pretrain', known_to_all))]

def captions(things, rng):
    "Every expression for one thing, and one list of things: (kind, text, spans, things)"
    singles, phrases = [], []
    for j,t in enumerate(things):
        found = [e for e in refer(things, j) if e[0] in known_to_all]
        if alone(things, kind=t['kind'], colour=t['colour']): found.append(('phrase', f'the {t["colour"]} {t["kind"]}', j))
        singles += [(k, s, [(0, len(named(s)))], [j]) for k,s,_ in dict.fromkeys(found)]
        if found: phrases.append((j, rng.choice(found)[1]))
    rng.shuffle(phrases)
    spans, at = [], 0
    for _,s in phrases: spans.append((at, at+len(named(s)))); at += len(s) + len(' and ')
    return singles, ('list', ' and '.join(s for _,s in phrases), spans, [j for j,_ in phrases])

def all_rows(scenes, rng):
    "(scene, kind, text, spans, things) of every caption"
    rows = []
    for i,(_,things) in enumerate(scenes):
        singles, several = captions(things, rng)
        side, other = [s for s in singles if s[0] in sides], [s for s in singles if s[0] not in sides]
        rng.shuffle(side); rng.shuffle(other)
        rows += [(i, *s) for s in side[:4] + other[:6]] + [(i, *several)]*(len(several[3])>1)
    return rows

# %% What the frozen towers say
@torch.inference_mode()
def all_maps(scenes, file):
    if file.exists(): return np.load(file, mmap_mode='r')
    net, part = lite0().to(memory_format=torch.channels_last), file.with_suffix('.part')
    out = np.lib.format.open_memmap(part, 'w+', dtype=np.float16, shape=(len(scenes),1280,size//32,size//32))
    for i in range(0, len(scenes), 50):
        out[i:i+50] = net(pixels([draw_scene(things, key, 'fluent', size) for key,things in scenes[i:i+50]]).to(memory_format=torch.channels_last)).half().numpy()
    out.flush(); part.replace(file)
    return np.load(file, mmap_mode='r')

@torch.inference_mode()
def all_states(texts):
    tok, net = minilm()
    out = {}
    for k in range(0, len(texts), 128):
        enc = tok(texts[k:k+128], padding=True, return_tensors='pt')
        for t,ids,m,h in zip(texts[k:k+128], enc['input_ids'], enc['attention_mask'], net(**enc).last_hidden_state.half()): out[t] = ids[:m.sum()].clone(), h[:m.sum()].clone()
    return out, {t: tok(t) for t in texts}

# %% Training
class Towers(nn.Module):
    "Plays MiniLM with the states of the batch"
    def forward(self, input_ids, attention_mask=None): return self

def make_batch(idx, rows, scenes, maps, states, encodings):
    rs = [rows[i] for i in idx]
    pad = lambda xs: nn.utils.rnn.pad_sequence(xs, batch_first=True)
    ids, hs = zip(*(states[r[2]] for r in rs))
    targets = []
    for i,_,text,spans,things in rs:
        boxes = torch.tensor([box_of(scenes[i][1][j], 'fluent', size) for j in things]).float()/size
        targets.append(dict(boxes=cxcywh(boxes), positive_map=token_map(encodings[text], [[s] for s in spans], positions)))
    return torch.from_numpy(maps[[r[0] for r in rs]].astype(np.float32)), pad(ids), pad([torch.ones_like(o) for o in ids]), pad([h.float() for h in hs]), targets

def nowhere(x): return torch.zeros(len(x), *x.shape[2:], dtype=torch.bool)
def place_of(x): return SinePosition(n_place)(nowhere(x))

def started(model):
    "Places weigh as much as features; the queries start at eight places, and look there"
    model.input_proj.weight[:,1280:].mul_(6.)
    pos = SinePosition(model.cfg.D)(torch.zeros(1, 50, 50, dtype=torch.bool))[0]
    spots = [(12,12), (12,37), (37,12), (37,37), (25,25), (25,8), (8,25), (25,42)]
    model.query_embed.weight.copy_(torch.stack([pos[:,y,x] for y,x in spots]))
    for l in model.transformer.decoder.layers: l.cross_attn_image.in_proj_weight[:model.cfg.D] = l.cross_attn_image.in_proj_weight[model.cfg.D:2*model.cfg.D]
    return model

def forward(model, batch):
    x, ids, mask, model.transformer.text_encoder.last_hidden_state, targets = batch
    return model(None, ids, attention_mask=mask, targets=targets, features=(model.input_proj(torch.cat([x, place_of(x)], 1)), nowhere(x)))

@torch.no_grad()
def evaluate(model, idx, rows, batch_of):
    "P@1 by kind of expression"
    hits = Counter()
    for k in range(0, len(idx), 100):
        b = batch_of(idx[k:k+100]); out = forward(model.eval(), b)
        best = (1-out['logits'].softmax(-1)[...,-1]).argmax(1)
        for i,box,t in zip(idx[k:k+100], out['boxes'][range(len(best)),best], b[-1]): hits[rows[i][1]] += (overlaps(xyxy(box)[None], xyxy(t['boxes']))[0]>=.5).item()
    model.train()
    n = Counter(rows[i][1] for i in idx)
    return dict(all=round(100*sum(hits.values())/len(idx), 1)) | {k: round(100*hits[k]/n[k]) for k in n}

def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0); rng = random.Random(0)
    scenes = all_scenes(); maps, rows = all_maps(scenes, folder/'maps.npy'), all_rows(scenes, rng)
    states, encodings = all_states(sorted({r[2] for r in rows}, key=lambda s: (len(s), s)))
    batch_of = lambda idx: make_batch(idx, rows, scenes, maps, states, encodings)
    valid = [i for i,r in enumerate(rows) if r[0]<200 and r[1]!='list'][:1000]           # two hundred scenes are kept back
    lists, singles = ([i for i,r in enumerate(rows) if r[0]>=200 and (r[1]=='list')==several] for several in (True, False))
    n = Counter(rows[i][1] for i in singles)
    p = np.array([share[rows[i][1]]/n[rows[i][1]] for i in singles]); p /= p.sum()
    torch.manual_seed(0); model = alone_network(); model.transformer.text_encoder = Towers(); nn.init.normal_(model.query_embed.weight)
    with torch.no_grad(): started(model)
    opt = torch.optim.AdamW([dict(params=[o for o in model.parameters() if (o.dim()>1)==matrix], weight_decay=.01*matrix) for matrix in (True, False)], lr=peak_lr)
    file, start = folder/'checkpoint.pt', 0
    if file.exists():
        saved = torch.load(file, weights_only=True); start = saved['step']
        model.load_state_dict(saved['model']); opt.load_state_dict(saved['opt'])
    draw, began, total = np.random.default_rng(start), time.time(), 0.
    for step in range(start, steps):
        for g in opt.param_groups: g['lr'] = peak_lr*min(1, (step+1)/warmup)*.5*(1+math.cos(math.pi*step/horizon(step)))
        idx = draw.choice(lists, B).tolist() if is_list(step) else draw.choice(singles, B, p=p).tolist()
        loss = forward(model, batch_of(idx))['loss']; loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.); opt.step(); opt.zero_grad(); total += loss.item()
        if (step+1)%100==0: print(step+1, f'loss {total/100:.2f}, {(time.time()-began)/(step+1-start):.2f} s a step', evaluate(model, valid, rows, batch_of) if (step+1)%200==0 else '', flush=True); total = 0.
        if (step+1)%200==0: torch.save(dict(model=model.state_dict(), opt=opt.state_dict(), step=step+1), file.with_suffix('.part')); file.with_suffix('.part').replace(file)
    print(evaluate(model, valid, rows, batch_of))
    save_file({k: v.half().contiguous() for k,v in own_state(model).items()}, here/weights_file)

if __name__ == '__main__': main(Path(sys.argv[1] if len(sys.argv) > 1 else here/'build'))
