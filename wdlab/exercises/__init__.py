"""Checkers of the course's exercises: they say what is wrong, show where, and never raise."""

from wdlab.exercises import (
    chapter01,
    chapter02,
    chapter03,
    chapter04,
    chapter05,
    chapter06,
    chapter07,
    chapter08,
    chapter09,
)
from wdlab.exercises.harness import Exercise, check
from wdlab.exercises.report import Report

__all__ = [
    "Exercise",
    "Report",
    "chapter01",
    "chapter02",
    "chapter03",
    "chapter04",
    "chapter05",
    "chapter06",
    "chapter07",
    "chapter08",
    "chapter09",
    "check",
]
