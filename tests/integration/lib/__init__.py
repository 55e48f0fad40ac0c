# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests stand on: servers, replicas, a scripted participant, a client."""
