# SPDX-License-Identifier: Apache-2.0
"""Both ways to hold a lease."""
import pytest

both_modes = pytest.mark.parametrize("mode", ["lock", "row"])
