"""Detection and depth models of transformers as judges: any checkpoint of a kind that its Auto classes know.

Detectors name what they were taught to (``id2label``): a noun that is no label, under none of its names, they cannot
find.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from evaluation.detection import Detection, Picture, Vocabulary
from evaluation.judges.config import pretrained_place
from evaluation.judges.protocol import Images


class TransformersDetector:
    """``model`` and ``processor`` belong together; objects below ``score_threshold`` are not reported."""

    def __init__(self, model: Any, processor: Any, score_threshold: float, batch_size: int) -> None:
        self.model = model.eval()
        self.processor = processor
        self.score_threshold = score_threshold
        self.batch_size = batch_size

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the model's labels, in lower case; it sees nothing else of an object."""
        return {"shape": {label.lower() for label in self.model.config.id2label.values()}}

    @torch.no_grad()
    def detect(self, images: NDArray[np.uint8]) -> list[Picture]:
        """Return the objects of each image, surest first; their names are the model's labels, in lower case."""
        pictures = []
        for start in range(0, len(images), self.batch_size):
            shown = images[start : start + self.batch_size]
            inputs = self.processor(images=[image.transpose(1, 2, 0) for image in shown], return_tensors="pt")
            outputs = self.model(**inputs.to(self.model.device))
            found = self.processor.post_process_object_detection(
                outputs, threshold=self.score_threshold, target_sizes=[(1, 1)] * len(shown)
            )
            pictures += [self._picture(one) for one in found]
        return pictures

    def _picture(self, found: dict[str, Any]) -> Picture:
        scores, labels, boxes = (found[name].cpu().tolist() for name in ("scores", "labels", "boxes"))
        objects = []
        for score, label, box in sorted(zip(scores, labels, boxes, strict=True), key=lambda one: -one[0]):
            x0, y0, x1, y1 = (min(max(end, 0.0), 1.0) for end in box)
            objects.append(Detection({self.model.config.id2label[label].lower(): 1.0}, {}, {}, (x0, y0, x1, y1), score))
        return Picture(tuple(objects), {})


class TransformersDepth:
    """Depth of every pixel, in 0..1 of each image's own range; ``larger`` says which way the model's numbers grow."""

    def __init__(
        self, model: Any, processor: Any, batch_size: int, larger: Literal["nearer", "farther"] = "nearer"
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.batch_size = batch_size
        self.sign = 1 if larger == "nearer" else -1

    @torch.no_grad()
    def depth(self, images: Images) -> NDArray[np.float32]:
        """Return maps [N, H, W] as large as the images; the larger, the nearer."""
        parts = []
        for start in range(0, len(images), self.batch_size):
            shown = images[start : start + self.batch_size]
            inputs = self.processor(images=[image.transpose(1, 2, 0) for image in shown], return_tensors="pt")
            near = self.model(**inputs.to(self.model.device)).predicted_depth.float() * self.sign
            least, most = near.amin((1, 2), keepdim=True), near.amax((1, 2), keepdim=True)
            scaled = ((near - least) / (most - least).clamp(min=1e-12))[:, None]
            sized = F.interpolate(scaled, size=shown.shape[-2:], mode="bilinear", align_corners=True)
            parts.append(sized[:, 0].cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, *images.shape[-2:]), np.float32)


def load_detector(name: str, score_threshold: float, batch_size: int, device: torch.device) -> TransformersDetector:
    """Load a detection model from a local directory or by its name on the Hugging Face Hub, ``name@revision``."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection  # seconds of import

    place = pretrained_place(name)
    model = AutoModelForObjectDetection.from_pretrained(**place).to(device)
    return TransformersDetector(model, AutoImageProcessor.from_pretrained(**place), score_threshold, batch_size)


def load_depth(
    name: str, larger: Literal["nearer", "farther"], batch_size: int, device: torch.device
) -> TransformersDepth:
    """Load a depth model from a local directory or by its name on the Hugging Face Hub, ``name@revision``."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation  # seconds of import

    place = pretrained_place(name)
    model = AutoModelForDepthEstimation.from_pretrained(**place).to(device)
    return TransformersDepth(model, AutoImageProcessor.from_pretrained(**place), batch_size, larger)
