# SPDX-License-Identifier: Apache-2.0
"""Faults of every kind, and what must hold after each."""
