/* SPDX-License-Identifier: Apache-2.0
 * public.h - documents that are part of the program, made by api/embed.sh.
 */
#ifndef API_PUBLIC_H
#define API_PUBLIC_H

#include <stddef.h>

extern const char   api_openapi[];
extern const size_t api_openapi_size;
extern const char   api_schema[];
extern const size_t api_schema_size;

#endif
