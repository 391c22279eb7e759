"""The method: denoising errors and labels in, a loss per image out. These names are for users.

    from thumbtune.objective import KTO, Judged, loss_averse

objectives          KTO · BCO · DPO · NFT · SFT · CSFT; your own must have the members of `Objective`, may have `Traits`
utilities           kahneman_tversky · loss_averse · risk_seeking; UTILITIES maps the names in recipes to them
log-ratios          absolute · relative; LOG_RATIOS maps the names in recipes to them; LogRatio is their type
reference points    REFERENCE_POINTS maps the names in recipes to estimators; `ReferencePoint` is their protocol
beta                Fixed · AutoBeta; `Beta` is their protocol
prompt prefixes     PromptPrefixes · prefixed: the words that CSFT puts before prompts
measures            gain_of · gradient_weight: the gain of an image, and how much it still teaches
"""

from thumbtune.objective.baselines import BCO, CSFT, DPO, SFT
from thumbtune.objective.beta import Auto as AutoBeta
from thumbtune.objective.beta import Beta, Fixed
from thumbtune.objective.kto import KTO, Judged
from thumbtune.objective.log_ratio import LOG_RATIOS, LogRatio, absolute, relative
from thumbtune.objective.nft import NFT
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
    "LOG_RATIOS",
    "NFT",
    "REFERENCE_POINTS",
    "SFT",
    "UTILITIES",
    "AutoBeta",
    "Beta",
    "Fixed",
    "Judged",
    "LogRatio",
    "Objective",
    "PromptPrefixes",
    "ReferencePoint",
    "Traits",
    "Utility",
    "absolute",
    "gain_of",
    "gradient_weight",
    "kahneman_tversky",
    "loss_averse",
    "prefixed",
    "relative",
    "risk_seeking",
    "traits_of",
]
