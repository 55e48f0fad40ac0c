# SPDX-License-Identifier: Apache-2.0
"""Whatever kills, freezes or splits replicas, their database and their participants: each fault a test."""
