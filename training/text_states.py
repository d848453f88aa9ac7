"""Job: the states of every caption that a diffusion model can draw from a blend, by the configured text encoder."""

from pathlib import Path

from training.config import TextStatesConfig
from training.data import BlendTexts, read_blend
from training.job import Job, JobInputs, run
from training.report import Reporter
from training.text_encoders.backends import open_text_encoder
from training.text_encoders.states import store_states


class TextStatesInputs(JobInputs):
    blend: Path
    clip: Path


def main(job: Job[TextStatesConfig, TextStatesInputs], reporter: Reporter) -> None:
    """Encode every text of the blend once, and the empty text."""
    encoder = open_text_encoder(job.config.text_encoder, job.inputs.clip)
    texts = ["", *(text for text in BlendTexts(read_blend(job.inputs.blend, "diffusion")).texts if text)]
    store_states(
        texts, encoder, job.output, job.config.batch_size, lambda done: reporter.log(done, len(texts), texts=done)
    )
    reporter.finish(texts=len(texts), width=encoder.width, length=encoder.length, encoder=encoder.digest())


if __name__ == "__main__":
    run(main, TextStatesConfig, TextStatesInputs)
