"""Status models write what the API server keeps."""

from __future__ import annotations

from inferencefleet.api.status_common import Condition
from inferencefleet.api.status_fleet import ChangeStatus, FleetStatus, LatencyStatus, ObservedStatus, SummaryStatus


def test_a_status_is_written_in_camel_case_without_nulls() -> None:
    status = FleetStatus(
        observed_generation=3,
        replicas=2,
        summary=SummaryStatus(slo="99.4%", on_demand=1),
        observed=ObservedStatus(ttft=LatencyStatus(p95_seconds=1.2)),
        history=[ChangeStatus(at="2026-01-31T12:00:00Z", from_=1, to=2, reason="RampAhead")],
        conditions=[
            Condition(type="Ready", status="True", last_transition_time="2026-01-31T12:00:00Z", reason="Ok", message="")
        ],
    )
    assert status.to_json() == {
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": "2026-01-31T12:00:00Z",
                "reason": "Ok",
                "message": "",
            }
        ],
        "replicas": 2,
        "summary": {"slo": "99.4%", "onDemand": 1},
        "observed": {"ttft": {"p95Seconds": 1.2}},
        "history": [{"at": "2026-01-31T12:00:00Z", "from": 1, "to": 2, "reason": "RampAhead"}],
    }
