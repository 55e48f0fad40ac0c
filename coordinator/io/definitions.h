/* SPDX-License-Identifier: Apache-2.0
 * definitions.h - the definition port over participants/definition.h.
 */
#ifndef COORDINATOR_IO_DEFINITIONS_H
#define COORDINATOR_IO_DEFINITIONS_H

#include "coordinator/engine/port.h"

struct definition_port definition_port_of(void); /* without state: good for ever */

#endif
