# SPDX-License-Identifier: Apache-2.0
"""Both ways to hold a lease. Every fault that depends on who is alive is tried with both.

With locks alone: kill -9 with default settings (what 500 ms are promised for; test_kill has the kill with rows, which
ends a TTL later), and what no lease has a part in: clients and participants; rows that cannot be stored or that nobody may
write; a failover that cannot be noted, one row that cannot be restored, a cancelled wait for the standby, the warning of
an asynchronous one, hosts that drop sessions, a start before the promotion; look-ups that are away; readiness in a drain;
rows of a newer format, a first new replica that migrates, a schema that is too new; what a time means. With rows alone:
leases that somebody locks. Both side by side: a change of the mode."""
import pytest

both_modes = pytest.mark.parametrize("mode", ["lock", "row"])
