"Imported once, by the process that `test.py` forks every notebook's process from: most of a short notebook's time is these imports"
import gc,importlib,logging,warnings
logging.getLogger('torch.utils._pytree').setLevel(logging.ERROR)
with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    for name in ('torch','torchvision','transformers.trainer','transformers.models.bert.modeling_bert','transformers.models.t5.modeling_t5','transformers.models.clip.modeling_clip',
                 'transformers.models.vit.modeling_vit','transformers.models.resnet.modeling_resnet','peft','datasets','pandas','matplotlib.pyplot','torch._dynamo','timm','hypothesis','nbdev.test'):
        try: importlib.import_module(name)
        except ImportError: pass  # a notebook that needs it says so
gc.collect(); gc.freeze()  # the garbage collector of a notebook's process has nothing to look for here
