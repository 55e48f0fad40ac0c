/* SPDX-License-Identifier: Apache-2.0
 * saga/mhd.h - a service behind libmicrohttpd (link with saga-mhd).
 */
#ifndef SAGA_MHD_H
#define SAGA_MHD_H

#include "service.h"

#include <microhttpd.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SAGA_MHD_BODY_MAX = 1 << 20 };

/* For a daemon of your own: its access handler hands on what it was given, with the service.
 * on the first call *state is NULL. The body may have body_max bytes. */
SAGA_API enum MHD_Result saga_mhd_request(const struct saga_service *service, size_t body_max,
					  struct MHD_Connection *conn, const char *path,
					  const char *method, const char *data, size_t *size,
					  void **state);
/* Its MHD_OPTION_NOTIFY_COMPLETED. */
SAGA_API void saga_mhd_completed(void *ctx, struct MHD_Connection *conn, void **state,
				 enum MHD_RequestTerminationCode why);

/* Or a whole server, with a thread for each connection. */
struct saga_mhd;

struct saga_mhd_options { /* zero means the default */
	const char *listen;       /* "127.0.0.1:8080", "[::1]:8080", ":8080" */
	unsigned connections;     /* at most [400] */
	size_t body_max;          /* bytes [SAGA_MHD_BODY_MAX] */
	size_t head_memory;       /* bytes for URL and headers; beyond them 431 [32768] */
};

/* The service outlives it. */
SAGA_API struct saga_mhd *saga_mhd_open(const struct saga_service *service,
					const struct saga_mhd_options *options,
					struct saga_error *error) SAGA_USE;
/* Lets requests under way end. */
SAGA_API void saga_mhd_close(struct saga_mhd *mhd);

#ifdef __cplusplus
}
#endif
#endif
