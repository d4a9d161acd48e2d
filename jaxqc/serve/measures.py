"""Figures of a running server for Prometheus; no name of a lot, a picture or a person is among them."""

from typing import Any

from jaxqc.inspection.drift import Watch

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the histograms' classes of time."""
RATIOS = (0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
"""Upper ends of the classes of a map's peak over its threshold."""


class Measures:
    """The counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        from jaxqc.serve.settings import SIZES

        self.registry = CollectorRegistry()
        own: Any = {"registry": self.registry}
        self.requests = Counter("jaxqc_requests", "Requests by route and status.", ["route", "status"], **own)
        self.seconds = Histogram(
            "jaxqc_request_seconds", "Time of a request, by route.", ["route"], buckets=SECONDS, **own
        )
        about = "Time of an image in each stage."
        self.stages = Histogram("jaxqc_stage_seconds", about, ["stage"], buckets=SECONDS, **own)
        about = "Images of the batches that were scored."
        self.batches = Histogram("jaxqc_batch_images", about, ["model"], buckets=SIZES, **own)
        about = "Time of a batch on its device."
        self.batch_seconds = Histogram("jaxqc_batch_seconds", about, ["model"], buckets=SECONDS, **own)
        self.inside = Gauge("jaxqc_images_in_flight", "Images between their arrival and their answer.", **own)
        self.waiting = Gauge("jaxqc_queue_images", "Images that wait for a batch.", ["model"], **own)
        self.refused = Counter("jaxqc_refused", "Requests that were refused, by reason.", ["reason"], **own)
        self.verdicts = Counter("jaxqc_verdicts", "Images by verdict.", ["model", "verdict"], **own)
        self.known = Counter("jaxqc_known", "Images that were answered from the ledger.", ["model"], **own)
        about = "Highest value of an image's map over its threshold: its drift shows a changed camera or product."
        self.peaks = Histogram("jaxqc_peak_over_threshold", about, ["model"], buckets=RATIOS, **own)
        about = (
            "Evidence that scores of good images have changed since the calibration, ever: decadic logarithm of odds."
        )
        self.drift = Gauge("jaxqc_drift_evidence", about, ["model", "direction"], **own)
        about = "1 where that evidence is enough for an alarm: a false one has 1 chance in 100, however long it runs."
        self.drift_alarm = Gauge("jaxqc_drift_alarm", about, ["model"], **own)
        self.drift_images = Gauge("jaxqc_drift_images", "Good images that were compared.", ["model"], **own)
        self.listeners = Gauge("jaxqc_event_listeners", "Clients that listen to events.", **own)

    def drifting(self, model: str, watch: Watch | None) -> None:
        """Sets the figures of drift of a model; none before there is something to compare with."""
        if watch is None:
            return
        for direction, capital in (("higher", watch.up), ("lower", watch.down)):
            self.drift.labels(model, direction).set(capital.highest)
        self.drift_alarm.labels(model).set(bool(watch.alarm))
        self.drift_images.labels(model).set(watch.count)

    def text(self) -> tuple[bytes, str]:
        """All figures in Prometheus' text format, and its media type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
