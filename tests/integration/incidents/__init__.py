# SPDX-License-Identifier: Apache-2.0
"""What goes wrong at three in the morning, broken on purpose and put right by docs/operating.md."""
