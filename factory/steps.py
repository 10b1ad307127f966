"""The pipeline: every stage with its settings, and what follows what."""

from factory.errors import WrongRequest
from factory.settings import Content
from factory.stages import Pipeline, Step
from factory.stages.actors import Actors
from factory.stages.appraisal import Appraisals, FlipAppraisals
from factory.stages.background import Backgrounds
from factory.stages.cleaning import Cleaning
from factory.stages.context import Contexts
from factory.stages.dialogue import Dialogues
from factory.stages.flip import Flips
from factory.stages.labels import FlipLabels, SoftLabels
from factory.stages.mcq_ea import EaItems
from factory.stages.mcq_eu import EuItems
from factory.stages.reading import FlipReadings, Readings
from factory.stages.rewriting import Rewriting
from factory.stages.solve import Solves
from factory.stages.utterances import Utterances

TARGETS = ("contextless", "contextual", "appraisal", "flip", "mcq")
_SPOKEN = frozenset(TARGETS[:4])  # what is said aloud in the passage; the items come out of a talk


def pipeline(content: Content) -> Pipeline:
    """The stages of DESIGN section 2 under these settings; preset `paper` switches to Emo Pillars' own choices."""
    paper, reads = content.preset == "paper", content.labeller == "logprobs"
    seed, checked = content.seed, not paper
    contextual, appraisal, flip, mcq = (frozenset([name]) for name in TARGETS[1:])
    return Pipeline(
        (
            Step(Actors(most=content.actors)),
            Step(
                Utterances(
                    emotions=content.emotions, neutrals=content.neutrals, seed=seed, dealt=not paper, checked=checked
                ),
                "actors",
                _SPOKEN,
            ),
            Step(
                SoftLabels(threshold=content.threshold, loose=content.loose_aliases, primed=paper),
                "utterances",
                _SPOKEN,
            ),
            *(
                [Step(Readings(), "labels", _SPOKEN)] if reads else []
            ),  # all four make contextless, which has its columns
            Step(Contexts(share=content.context_share, seed=seed, checked=checked), "labels", contextual),
            Step(Cleaning(checked=checked), "context", contextual),
            Step(Rewriting(checked=checked), "cleaning", contextual),
            Step(Appraisals(), "labels", appraisal),
            Step(Flips(share=content.flip_share, seed=seed), "appraisal", flip),
            Step(FlipLabels(threshold=content.threshold, loose=content.loose_aliases), "flip", flip),
            Step(FlipAppraisals(), "flip_labels", flip),
            *([Step(FlipReadings(), "flip_appraisal", flip)] if reads else []),
            Step(Backgrounds(share=content.dialogue_share, seed=seed), "actors", mcq),
            Step(Dialogues(turns=content.dialogue_turns, seed=seed), "background", mcq),
            Step(EuItems(items=content.items, seed=seed), "dialogue", mcq),
            Step(EaItems(items=content.items, seed=seed), "dialogue", mcq),
            Step(Solves(shuffles=content.shuffles, agreement=content.agreement, seed=seed), ("mcq_eu", "mcq_ea"), mcq),
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
