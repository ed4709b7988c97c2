"""synth: synthetic brain-tumour MRI with exact labels.

Label layouts (tissue and tumour) are edited and painted into the four BraTS modalities.
"""

__version__ = "0.1.0"
