"""The pipeline: every stage with its settings, and what follows what."""

from factory.errors import WrongRequest
from factory.settings import Content
from factory.stages import Pipeline, Step
from factory.stages.actors import Actors
from factory.stages.appraisal import Appraisals, FlipAppraisals
from factory.stages.cleaning import Cleaning
from factory.stages.context import Contexts
from factory.stages.flip import Flips
from factory.stages.labels import FlipLabels, SoftLabels
from factory.stages.reading import FlipReadings, Readings
from factory.stages.rewriting import Rewriting
from factory.stages.utterances import Utterances

TARGETS = ("contextless", "contextual", "appraisal", "flip")


def pipeline(content: Content) -> Pipeline:
    """The stages of DESIGN section 2 under these settings; preset `paper` switches to Emo Pillars' own choices."""
    paper, reads = content.preset == "paper", content.labeller == "logprobs"
    seed, checked = content.seed, not paper
    contextual, appraisal, flip = (frozenset([name]) for name in ("contextual", "appraisal", "flip"))
    return Pipeline(
        (
            Step(Actors(most=content.actors)),
            Step(
                Utterances(
                    emotions=content.emotions, neutrals=content.neutrals, seed=seed, dealt=not paper, checked=checked
                ),
                "actors",
            ),
            Step(SoftLabels(threshold=content.threshold, loose=content.loose_aliases, primed=paper), "utterances"),
            *([Step(Readings(), "labels")] if reads else []),  # every target makes contextless, which has its columns
            Step(Contexts(share=content.context_share, seed=seed, checked=checked), "labels", contextual),
            Step(Cleaning(checked=checked), "context", contextual),
            Step(Rewriting(checked=checked), "cleaning", contextual),
            Step(Appraisals(), "labels", appraisal),
            Step(Flips(share=content.flip_share, seed=seed), "appraisal", flip),
            Step(FlipLabels(threshold=content.threshold, loose=content.loose_aliases), "flip", flip),
            Step(FlipAppraisals(), "flip_labels", flip),
            *([Step(FlipReadings(), "flip_appraisal", flip)] if reads else []),
        )
    )


def targets(text: str) -> tuple[str, ...]:
    """The targets named in STAGES, in canonical order; an unknown one is an error that lists the known."""
    named = [t.strip() for t in text.split(",") if t.strip()]
    unknown = [t for t in named if t not in TARGETS]
    if unknown or not named:
        raise WrongRequest(
            f"STAGES has no target {', '.join(unknown) or '(none given)'}; choose among {', '.join(TARGETS)}"
        )
    return tuple(t for t in TARGETS if t in named)
