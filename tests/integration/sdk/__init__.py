# SPDX-License-Identifier: Apache-2.0
"""The packages for services (participants/python, participants/typescript) with real databases and real replicas."""
