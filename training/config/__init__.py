"""What each training job can be told. Free of torch, so that the orchestrator can read it too."""

from training.config.captions import CaptionerConfig as CaptionerConfig
from training.config.captions import CaptionFilterConfig as CaptionFilterConfig
from training.config.captions import CaptionStyleConfig as CaptionStyleConfig
from training.config.captions import DecodeConfig as DecodeConfig
from training.config.captions import MatchingConfig as MatchingConfig
from training.config.captions import RecaptionConfig as RecaptionConfig
from training.config.captions import ScoreConfig as ScoreConfig
from training.config.captions import SharingConfig as SharingConfig
from training.config.clip import ClipConfig as ClipConfig
from training.config.clip import EmbedConfig as EmbedConfig
from training.config.clip import ImageFeaturesConfig as ImageFeaturesConfig
from training.config.clip import TokenizerConfig as TokenizerConfig
from training.config.diffusion import AutoencoderConfig as AutoencoderConfig
from training.config.diffusion import DiffusionConfig as DiffusionConfig
from training.config.diffusion import GenerateConfig as GenerateConfig
from training.config.diffusion import LatentsConfig as LatentsConfig
from training.config.diffusion import SamplerConfig as SamplerConfig
from training.config.job import JobConfig as JobConfig
from training.config.job import OptimizerConfig as OptimizerConfig
from training.config.priors import AutoregressivePriorConfig as AutoregressivePriorConfig
from training.config.priors import DiffusionPriorConfig as DiffusionPriorConfig
from training.config.upsampling import PretrainedUpsamplerConfig as PretrainedUpsamplerConfig
from training.config.upsampling import SurvivalConfig as SurvivalConfig
from training.config.upsampling import UpsampleConfig as UpsampleConfig
from training.config.upsampling import UpsamplerConfig as UpsamplerConfig
