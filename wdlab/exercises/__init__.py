"""Checkers of the course's exercises: they say what is wrong, show where, and never raise."""

from wdlab.exercises import (
    chapter00,
    chapter01,
    chapter02,
    chapter03,
    chapter04,
    chapter05,
    chapter06,
    chapter07,
    chapter08,
    chapter09,
    chapter10,
)
from wdlab.exercises.harness import Exercise, check
from wdlab.exercises.report import Report

CHAPTERS = (
    chapter00,
    chapter01,
    chapter02,
    chapter03,
    chapter04,
    chapter05,
    chapter06,
    chapter07,
    chapter08,
    chapter09,
    chapter10,
)
"""The exercises of each notebook."""

__all__ = [
    "CHAPTERS",
    "Exercise",
    "Report",
    "chapter00",
    "chapter01",
    "chapter02",
    "chapter03",
    "chapter04",
    "chapter05",
    "chapter06",
    "chapter07",
    "chapter08",
    "chapter09",
    "chapter10",
    "check",
]
