/* SPDX-License-Identifier: Apache-2.0
 *
 * policy/cedar/describe_words.h - the phrases of describe, as a table that is
 * included more than once: CEDAR_PHRASE(id, English, its opposite, Chinese,
 * its opposite). No opposite: the same. */

/* --- Clauses --- */
CEDAR_PHRASE(TRUE, "it is always so", "it is never so", "恒成立", "恒不成立")
CEDAR_PHRASE(HOLDS, "$1 is true", "$1 is false", "$1为真", "$1为假")
CEDAR_PHRASE(EQUAL, "$1 is $2", "$1 is not $2", "$1是$2", "$1不是$2")
CEDAR_PHRASE(LESS, "$1 is less than $2", "$1 is not less than $2", "$1小于$2",
    "$1不小于$2")
CEDAR_PHRASE(LESS_EQUAL, "$1 is at most $2", "$1 is not at most $2",
    "$1不超过$2", "$1超过$2")
CEDAR_PHRASE(GREATER, "$1 is more than $2", "$1 is not more than $2",
    "$1大于$2", "$1不大于$2")
CEDAR_PHRASE(GREATER_EQUAL, "$1 is at least $2", "$1 is not at least $2",
    "$1不少于$2", "$1少于$2")
CEDAR_PHRASE(
    BEFORE, "$1 is before $2", "$1 is not before $2", "$1早于$2", "$1不早于$2")
CEDAR_PHRASE(
    NOT_AFTER, "$1 is not after $2", "$1 is after $2", "$1不晚于$2", "$1晚于$2")
CEDAR_PHRASE(
    AFTER, "$1 is after $2", "$1 is not after $2", "$1晚于$2", "$1不晚于$2")
CEDAR_PHRASE(NOT_BEFORE, "$1 is not before $2", "$1 is before $2", "$1不早于$2",
    "$1早于$2")
CEDAR_PHRASE(IN, "$1 is in $2", "$1 is not in $2", "$1属于$2", "$1不属于$2")
CEDAR_PHRASE(IS, "$1 is of the type $2", "$1 is not of the type $2",
    "$1属于类型$2", "$1不属于类型$2")
CEDAR_PHRASE(IS_IN, "$1 is of the type $2 and in $3",
    "$1 is not both of the type $2 and in $3", "$1属于类型$2并属于$3",
    "$1并非既属于类型$2又属于$3")
CEDAR_PHRASE(HAS, "$1 is present", "$1 is absent", "$1存在", "$1不存在")
CEDAR_PHRASE(HAS_TAG, "$1 has the tag $2", "$1 has no tag $2", "$1有标签$2",
    "$1没有标签$2")
CEDAR_PHRASE(CONTAINS, "$1 contains $2", "$1 does not contain $2", "$1包含$2",
    "$1不包含$2")
CEDAR_PHRASE(ONE_OF, "$1 is one of $2", "$1 is none of $2", "$1是$2之一",
    "$1不是$2中的任何一个")
CEDAR_PHRASE(CONTAINS_ALL, "$1 contains all of $2",
    "$1 does not contain all of $2", "$1包含$2的全部", "$1不包含$2的全部")
CEDAR_PHRASE(CONTAINS_ANY, "$1 contains any of $2", "$1 contains none of $2",
    "$1包含$2中的至少一个", "$1不包含$2中的任何一个")
CEDAR_PHRASE(IS_EMPTY, "$1 is empty", "$1 is not empty", "$1为空", "$1不为空")
CEDAR_PHRASE(LIKE, "$1 has the form $2", "$1 does not have the form $2",
    "$1符合模式$2", "$1不符合模式$2")
CEDAR_PHRASE(BEGINS, "$1 begins with $2", "$1 does not begin with $2",
    "$1以$2开头", "$1不以$2开头")
CEDAR_PHRASE(ENDS, "$1 ends with $2", "$1 does not end with $2", "$1以$2结尾",
    "$1不以$2结尾")
CEDAR_PHRASE(HOLDS_TEXT, "$1 has $2 in it", "$1 does not have $2 in it",
    "$1含有$2", "$1不含$2")
CEDAR_PHRASE(
    ANY_TEXT, "$1 is any text", "$1 is no text", "$1是任意文本", "$1不是文本")
CEDAR_PHRASE(IPV4, "$1 is an IPv4 address", "$1 is not an IPv4 address",
    "$1是IPv4地址", "$1不是IPv4地址")
CEDAR_PHRASE(IPV6, "$1 is an IPv6 address", "$1 is not an IPv6 address",
    "$1是IPv6地址", "$1不是IPv6地址")
CEDAR_PHRASE(LOOPBACK, "$1 is a loopback address",
    "$1 is not a loopback address", "$1是环回地址", "$1不是环回地址")
CEDAR_PHRASE(MULTICAST, "$1 is a multicast address",
    "$1 is not a multicast address", "$1是组播地址", "$1不是组播地址")
CEDAR_PHRASE(IN_RANGE, "$1 is in the range $2", "$1 is not in the range $2",
    "$1在$2网段内", "$1不在$2网段内")
CEDAR_PHRASE(IF, "(if ?1, then ?2, otherwise ?3)", NULL,
    "（如果?1，则?2，否则?3）", NULL)
CEDAR_PHRASE(GUARDED, "`$1`", "`$1` does not hold", "`$1`", "`$1`不成立")

/* --- Things --- */
CEDAR_PHRASE(WHETHER, "whether ?1", NULL, "“?1”是否成立", NULL)
CEDAR_PHRASE(EITHER_THING, "($2 if ?1, otherwise $3)", NULL,
    "（如果?1则为$2，否则为$3）", NULL)
CEDAR_PHRASE(ATTRIBUTE, "$1's $2", NULL, "$1的$2", NULL)
CEDAR_PHRASE(ATTRIBUTE_OF_CONTEXT, "the $2", NULL, "$2", NULL)
CEDAR_PHRASE(ATTRIBUTE_BELOW, "$1 $2", NULL, "$1的$2", NULL)
CEDAR_PHRASE(TAG, "the tag $2 of $1", NULL, "$1的标签$2", NULL)
CEDAR_PHRASE(SET_OF, "the set of $1", NULL, "集合（$1）", NULL)
CEDAR_PHRASE(EMPTY_SET, "the empty set", NULL, "空集", NULL)
CEDAR_PHRASE(ADD, "$1 + $2", NULL, "$1 + $2", NULL)
CEDAR_PHRASE(SUBTRACT, "$1 - $2", NULL, "$1 - $2", NULL)
CEDAR_PHRASE(MULTIPLY, "$1 × $2", NULL, "$1 × $2", NULL)
CEDAR_PHRASE(NEGATE, "-$1", NULL, "-$1", NULL)
CEDAR_PHRASE(
    READ_IP, "$1 read as an IP address", NULL, "由$1得到的IP地址", NULL)
CEDAR_PHRASE(READ_DECIMAL, "$1 read as a decimal", NULL, "由$1得到的小数", NULL)
CEDAR_PHRASE(
    READ_DATETIME, "$1 read as a date", NULL, "由$1得到的日期时间", NULL)
CEDAR_PHRASE(
    READ_DURATION, "$1 read as a duration", NULL, "由$1得到的时长", NULL)
CEDAR_PHRASE(OFFSET, "$2 after $1", NULL, "$1之后$2", NULL)
CEDAR_PHRASE(SINCE, "the time from $2 to $1", NULL, "从$2到$1的时长", NULL)
CEDAR_PHRASE(TO_DATE, "the day of $1", NULL, "$1的日期", NULL)
CEDAR_PHRASE(TO_TIME, "the time of day of $1", NULL, "$1的时刻", NULL)
CEDAR_PHRASE(TO_MILLISECONDS, "$1 in milliseconds", NULL, "$1的毫秒数", NULL)
CEDAR_PHRASE(TO_SECONDS, "$1 in whole seconds", NULL, "$1的整秒数", NULL)
CEDAR_PHRASE(TO_MINUTES, "$1 in whole minutes", NULL, "$1的整分钟数", NULL)
CEDAR_PHRASE(TO_HOURS, "$1 in whole hours", NULL, "$1的整小时数", NULL)
CEDAR_PHRASE(TO_DAYS, "$1 in whole days", NULL, "$1的整天数", NULL)
CEDAR_PHRASE(PRINCIPAL, "the principal", NULL, "主体", NULL)
CEDAR_PHRASE(ACTION, "the action", NULL, "操作", NULL)
CEDAR_PHRASE(RESOURCE, "the resource", NULL, "资源", NULL)
CEDAR_PHRASE(CONTEXT, "the context", NULL, "上下文", NULL)
CEDAR_PHRASE(THE_TYPE, "the $1", NULL, "该$1", NULL)
CEDAR_PHRASE(ENTITY, "$1 $2", NULL, "$1$2", NULL)
CEDAR_PHRASE(SLOT_PRINCIPAL, "the principal that a link names", NULL,
    "链接所指定的主体", NULL)
CEDAR_PHRASE(SLOT_RESOURCE, "the resource that a link names", NULL,
    "链接所指定的资源", NULL)

/* --- Whom the rule is for: the opposite is that of a forbid --- */
CEDAR_PHRASE(
    ANYONE, "Everyone may ", "No one may ", "任何人都可以", "任何人都不可以")
CEDAR_PHRASE(THIS_ONE, "$1 may ", "$1 may not ", "$1可以", "$1不可以")
CEDAR_PHRASE(ANYONE_IN, "Everyone in $1 may ", "No one in $1 may ",
    "$1中的任何成员都可以", "$1中的任何成员都不可以")
CEDAR_PHRASE(
    ANY_TYPE, "Every $1 may ", "No $1 may ", "任何$1都可以", "任何$1都不可以")
CEDAR_PHRASE(ANY_TYPE_IN, "Every $1 in $2 may ", "No $1 in $2 may ",
    "$2中的任何$1都可以", "$2中的任何$1都不可以")

/* --- What the rule is about --- */
CEDAR_PHRASE(ANYTHING, "anything", NULL, "任何资源", NULL)
CEDAR_PHRASE(ANYTHING_IN, "anything in $1", NULL, "$1中的任何资源", NULL)
CEDAR_PHRASE(ANY_OF_TYPE, "any $1", NULL, "任何$1", NULL)
CEDAR_PHRASE(ANY_OF_TYPE_IN, "any $1 in $2", NULL, "$2中的任何$1", NULL)

/* --- What may be done: $ is the resource --- */
CEDAR_PHRASE(DO_ANYTHING, "do anything with $1", NULL, "对$1执行任何操作", NULL)
CEDAR_PHRASE(DO_NOTHING, "do nothing at all with $1", NULL,
    "对$1执行（空列表，即没有任何操作）", NULL)
CEDAR_PHRASE(
    DO_THIS, "perform the action $2 on $1", NULL, "对$1执行操作$2", NULL)
CEDAR_PHRASE(DO_ONE_OF, "perform any of the actions $2 on $1", NULL,
    "对$1执行操作$2", NULL)
CEDAR_PHRASE(
    DO_GROUP, "perform any action of $2 on $1", NULL, "对$1执行$2类操作", NULL)

/* --- Putting it together --- */
CEDAR_PHRASE(AND, " and ", NULL, "并且", NULL)
CEDAR_PHRASE(OR, " or ", NULL, "或者", NULL)
CEDAR_PHRASE(LIST_COMMA, ", ", NULL, "、", NULL)
CEDAR_PHRASE(LIST_OR, " or ", NULL, "或", NULL)
CEDAR_PHRASE(LIST_AND, " and ", NULL, "和", NULL)
CEDAR_PHRASE(OPEN, "(", NULL, "（", NULL)
CEDAR_PHRASE(CLOSE, ")", NULL, "）", NULL)
CEDAR_PHRASE(WHEN, " if ", NULL, "，条件是", NULL)
CEDAR_PHRASE(UNLESS, " unless ", NULL, "，除非", NULL)
CEDAR_PHRASE(COMMA_UNLESS, ", unless ", NULL, "，除非", NULL)
CEDAR_PHRASE(NEVER_APPLIES, " - but this rule can never apply", NULL,
    "——但此规则永远不会生效", NULL)
CEDAR_PHRASE(STOP, ".", NULL, "。", NULL)

/* --- Explanations --- */
CEDAR_PHRASE(APPLIES, "applies", NULL, "适用", NULL)
CEDAR_PHRASE(APPLIES_NOT, "does not apply: ", NULL, "不适用：", NULL)
CEDAR_PHRASE(FAILED, "could not be evaluated: ", NULL, "无法求值：", NULL)
CEDAR_PHRASE(SCOPE_IS, "$1 is not $2", NULL, "$1不是$2", NULL)
CEDAR_PHRASE(SCOPE_IN, "$1 is not in $2", NULL, "$1不属于$2", NULL)
CEDAR_PHRASE(
    SCOPE_TYPE, "$1 is not of the type $2", NULL, "$1不属于类型$2", NULL)
CEDAR_PHRASE(SCOPE_TYPE_IN, "$1 is not both of the type $2 and in $3", NULL,
    "$1并非既属于类型$2又属于$3", NULL)
CEDAR_PHRASE(SCOPE_NONE, "no action fits an empty list", NULL,
    "空列表不匹配任何操作", NULL)

/* --- Failures: $1 the value, $2 what was wanted or a name, $3 its kind --- */
CEDAR_PHRASE(FAIL_TYPE, "$2 was expected where $3 stood: $1", NULL,
    "此处应为$2，实为$3：$1", NULL)
CEDAR_PHRASE(
    FAIL_ATTRIBUTE, "$1 has no attribute $2", NULL, "$1没有属性$2", NULL)
CEDAR_PHRASE(FAIL_FIELD, "the record has no attribute $2", NULL,
    "记录中没有属性$2", NULL)
CEDAR_PHRASE(FAIL_TAG, "$1 has no tag $2", NULL, "$1没有标签$2", NULL)
CEDAR_PHRASE(FAIL_NO_ENTITY, "there is no entity $1", NULL, "没有实体$1", NULL)
CEDAR_PHRASE(FAIL_OVERFLOW, "the result does not fit 64 bits", NULL,
    "结果超出64位整数的范围", NULL)
CEDAR_PHRASE(FAIL_ARGUMENTS, "$2 was given a wrong number of arguments", NULL,
    "$2的参数个数不对", NULL)
CEDAR_PHRASE(FAIL_EXTENSION, "$1 is no valid $2", NULL, "$1不是有效的$2", NULL)
CEDAR_PHRASE(
    FAIL_DEPTH, "a value is nested too deeply", NULL, "值的嵌套层数过多", NULL)
CEDAR_PHRASE(FAIL_STEPS, "the evaluation took too many steps", NULL,
    "求值步骤过多", NULL)
CEDAR_PHRASE(FAIL_MEMORY, "the evaluation took too much memory", NULL,
    "求值占用内存过多", NULL)
