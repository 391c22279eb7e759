"""The method: denoising errors and labels in, a loss per image out. These names are for users.

    from thumbtune.objective import KTO, Judged, loss_averse

objectives          KTO · BCO · DPO · SFT · CSFT; `Objective` is what one of your own must offer, `Traits` what it may
utilities           kahneman_tversky · loss_averse · risk_seeking; UTILITIES has them by the names of recipes
reference points    REFERENCE_POINTS has the estimators by the names of recipes; `ReferencePoint` is what each offers
beta                Fixed · AutoBeta; `Beta` is what each offers
prompt prefixes     PromptPrefixes · prefixed: what CSFT puts before prompts
measures            gain_of · gradient_weight: how far an image has gone, and how much it still teaches
"""

from thumbtune.objective.baselines import BCO, CSFT, DPO, SFT
from thumbtune.objective.beta import Auto as AutoBeta
from thumbtune.objective.beta import Beta, Fixed
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.prompt_prefix import PromptPrefixes, prefixed
from thumbtune.objective.protocol import Objective, Traits, traits_of
from thumbtune.objective.reference_point import REFERENCE_POINTS, ReferencePoint
from thumbtune.objective.saturation import gain_of, gradient_weight
from thumbtune.objective.utility import UTILITIES, Utility, kahneman_tversky, loss_averse, risk_seeking

__all__ = [
    "BCO",
    "CSFT",
    "DPO",
    "KTO",
    "REFERENCE_POINTS",
    "SFT",
    "UTILITIES",
    "AutoBeta",
    "Beta",
    "Fixed",
    "Judged",
    "Objective",
    "PromptPrefixes",
    "ReferencePoint",
    "Traits",
    "Utility",
    "gain_of",
    "gradient_weight",
    "kahneman_tversky",
    "loss_averse",
    "prefixed",
    "risk_seeking",
    "traits_of",
]
