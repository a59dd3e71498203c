"""
Which form of the metrics a client asks for.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor_loop.http import negotiate
from conductor_loop.metrics.prometheus import Format

CURL = "*/*"
AXIOS = "application/json, text/plain, */*"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
CHROME = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
OPENMETRICS_2 = "application/openmetrics-text;version=2.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.mark.parametrize(
    "accept",
    [
        "",
        CURL,
        AXIOS,
        FIREFOX,
        CHROME,
        "application/json",
        "text/html",
        "text/*",
        "application/*;q=0.1",
        "application/json;q=0.5, text/plain;q=0.5",
        "text/plain;q=0.4, application/json;q=0.5",
        "text/plain;q=0",
        "text/plain;q=0.0, */*",
        "text/plain;q=2",
        "text/plain;q=-1",
        "text/plain;q=high",
        "text/plain;q=",
        "text/plain;q=0.1234",
        "nonsense",
        ";;,,;q=1",
        '"text/plain',
        'application/json;note="a, text/plain;q=1";q=0.2',
    ],
)
def test_json_is_the_answer_unless_prometheus_is_named(accept: str):
    """
    Wildcards, pages, ties and malformed headers get JSON.
    """
    assert not negotiate.wants_prometheus(accept)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2,
        PROMETHEUS_2_NATIVE,
        PROMETHEUS_3,
        OPENMETRICS_2,
        "text/plain",
        "TEXT/PLAIN ; VERSION=0.0.4",
        "application/openmetrics-text",
        "text/plain;q=0.1, */*;q=0.9",
        "text/plain;q=0.6, application/json;q=0.5",
        "text/plain; q=1.000 , application/json; q=0.999",
        'text/plain;note="x, y";q=0.3',
        "application/json;q=oops, text/plain;q=0.1",
    ],
)
def test_a_named_prometheus_type_wins_over_wildcards(accept: str):
    """
    With a higher quality than JSON, wherever it stands and however it is written.
    """
    assert negotiate.wants_prometheus(accept)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.TEXT),
        (CURL, Format.TEXT),
        (FIREFOX, Format.TEXT),
        (AXIOS, Format.TEXT),
        (PROMETHEUS_2, Format.OPENMETRICS),
        (PROMETHEUS_2_NATIVE, Format.OPENMETRICS),
        (PROMETHEUS_3, Format.OPENMETRICS),
        ("application/openmetrics-text", Format.OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"', Format.OPENMETRICS),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.5", Format.OPENMETRICS),
        ("application/openmetrics-text;q=0.4, text/plain;q=0.5", Format.TEXT),
        ("application/openmetrics-text;q=0", Format.TEXT),
        ("application/openmetrics-text;version=0.0.1", Format.TEXT),
        ("application/vnd.google.protobuf", Format.TEXT),
    ],
)
def test_the_prometheus_page_has_the_form_that_is_liked_most(accept: str, form: Format):
    """
    OpenMetrics 1.0 where it is named, text for everybody else.
    """
    assert negotiate.prometheus_format(accept) is form


def test_openmetrics_2_is_never_claimed():
    """
    It is not written here, so who names only that gets text.
    """
    assert negotiate.prometheus_format(OPENMETRICS_2) is Format.TEXT
    assert all("2.0" not in form.value for form in Format)


@given(st.text(alphabet=st.sampled_from('ab/*;,=q."\\ 019é\t')))
def test_no_header_is_too_strange(accept: str):
    """
    Whatever a client sends is answered.
    """
    negotiate.wants_prometheus(accept)
    negotiate.prometheus_format(accept)


def test_a_long_hostile_header_is_read_at_once():
    """
    No pattern takes more than linear time for the longest header that gets through.
    """
    for piece in ('"', '\\"', '"\\', ",", ";q=", 'a"', "a/b;"):
        negotiate.wants_prometheus(piece * (16384 // len(piece)))
