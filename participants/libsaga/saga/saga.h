/* SPDX-License-Identifier: Apache-2.0
 * saga/saga.h - libsaga but for the glue: saga/mhd.h has that.
 */
#ifndef SAGA_SAGA_H
#define SAGA_SAGA_H

#include "call.h"
#include "client.h"
#include "error.h"
#include "json.h"
#include "message.h"
#include "service.h"
#include "template.h"
#include "xa.h"

#endif
