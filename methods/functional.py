"""The mathematics of the methods, as pure functions on tensors.

No state, no modules, no I/O: a method composes these functions. They read like the equations they come
from, in this notation:

- `B` batch, `C` classes seen so far, `C_old` of them known to the teacher (the previous step's model), `D`
  feature channels, `H×W` pixels. Classes are numbered in learning order: 0 is the background, `0 … C_old-1`
  are the old classes. The ignore index is never a class.
- A pixel loss is a map `[B, H, W]`, non-negative unless its docstring says otherwise; the caller reduces it. The
  student comes first and the teacher second, and gradients flow to the student.
- Half precision is promoted to float32 before any logarithm, square, sum or matrix product, so all of it may be
  called inside autocast.

- `normalised=True` says that the logits are log-probabilities already (log-softmax over the channels), which
  spares their normalisation where several functions see the same ones. It changes no value; functions of
  sigmoids, for which a common offset of the logits matters, do not take it.

Nothing here waits for the device: shapes never depend on values, and no value is read back.

The equations are in `methods/equations/`, by subject; this is the one place to import them from.

Papers: EWC (Kirkpatrick et al., PNAS 2017), LwF (Li & Hoiem, ECCV 2016), LwF-MC (in iCaRL: Rebuffi et al.,
CVPR 2017), MiB (Cermelli et al., CVPR 2020), PLOP (Douillard et al., CVPR 2021), RCIL (Zhang et al.,
CVPR 2022), GSC (Cong et al., gradient-semantic compensation), UCD (Yang et al., TPAMI 2022), ALIFE (Oh et al.,
NeurIPS 2022), LGKD (Yang et al., ICCV 2023), MiB-AugM (Kwak, Cha and Moon, 2024).
"""

from issbench.methods.equations.classification import (
    sigmoid_cross_entropy,
    sigmoid_membership,
    unbiased_cross_entropy,
    unbiased_memory_cross_entropy,
)
from issbench.methods.equations.common import IGNORE_INDEX
from issbench.methods.equations.compensation import sharp_confidence, soft_relation, step_aware_weights
from issbench.methods.equations.contrast import pixel_contrast
from issbench.methods.equations.distillation import (
    fold_new_into_background,
    knowledge_distillation,
    label_guided_distillation,
    local_pod,
    logit_regulariser,
    pooled_cube_channel,
    pooled_cube_spatial,
    sigmoid_distillation,
    unbiased_knowledge_distillation,
)
from issbench.methods.equations.metrics import confusion_matrix, iou_per_class
from issbench.methods.equations.pseudo_labels import (
    adaptive_factor,
    class_medians,
    class_prototypes,
    entropy_pseudo_labels,
    prediction_entropy,
    prototype_weights,
    prototypical_pseudo_labels,
)
from issbench.methods.equations.regularisation import ewc_penalty

__all__ = [
    "IGNORE_INDEX",
    "adaptive_factor",
    "class_medians",
    "class_prototypes",
    "confusion_matrix",
    "entropy_pseudo_labels",
    "ewc_penalty",
    "fold_new_into_background",
    "iou_per_class",
    "knowledge_distillation",
    "label_guided_distillation",
    "local_pod",
    "logit_regulariser",
    "pixel_contrast",
    "pooled_cube_channel",
    "pooled_cube_spatial",
    "prediction_entropy",
    "prototype_weights",
    "prototypical_pseudo_labels",
    "sharp_confidence",
    "sigmoid_cross_entropy",
    "sigmoid_distillation",
    "sigmoid_membership",
    "soft_relation",
    "step_aware_weights",
    "unbiased_cross_entropy",
    "unbiased_knowledge_distillation",
    "unbiased_memory_cross_entropy",
]
