"""The prediction sets, risks and roll-ups in an expert's guarantees.json."""

from pathlib import Path

from tailproof.files import read_json, write_json
from tailproof.model_card.expert_facts import ExpertFacts
from tailproof.runtime.errors import TailproofError


def write_promises(facts: ExpertFacts, rules: str | Path, output: str | Path) -> None:
    """Write guarantees.json, which the stage guarantee fitted for all experts.

    Args:
        facts: facts about the expert.
        rules: guarantee_rules.json of the experiment.
        output: path of guarantees.json.

    Raises:
        TailproofError: no rule was fitted for the expert, or for other weights.
    """
    fitted = read_json(rules).get(facts.expert, {}).get(str(facts.seed), {})
    if fitted.get("weights_sha256") != facts.calibration["weights_sha256"]:
        raise TailproofError(
            f"{rules} has no rules for the weights of {facts.expert}, seed {facts.seed}: run "
            "guarantee again"
        )
    write_json(output, fitted)
