"""Exams: each file holds one measurement of G or D."""
