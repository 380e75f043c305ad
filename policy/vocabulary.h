/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/vocabulary.h - what Bailiff calls the things of its schema
 * (schema/bailiff.cedarschema), in English and Chinese, for sentences about
 * rules. Constant data. */
#ifndef POLICY_VOCABULARY_H
#define POLICY_VOCABULARY_H

#include "policy/cedar/describe.h"

extern const struct cedar_vocabulary policy_vocabulary;

#endif
