"""Promises that a deployed expert keeps: prediction sets, a risk, and the finest certain rank.

All of it is fitted on the split tune and measured on dev and test.
"""
