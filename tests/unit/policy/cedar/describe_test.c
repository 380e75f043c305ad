/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of policy/cedar's descriptions: each policy in both languages. */
#include "policy/cedar/describe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct row {
    const char *policy, *english, *chinese;
};
static const struct row rows[] = {
    {"permit(principal, action, resource);",
        "Everyone may do anything with anything.",
        "任何人都可以对任何资源执行任何操作。"},
    {"forbid(principal, action, resource);",
        "No one may do anything with anything.",
        "任何人都不可以对任何资源执行任何操作"
        "。"},
    {"permit(principal == User::\"alice\", action == Action::\""
     "view\", resource == Photo::\"x.jpg\");",
        "User “alice” may perform the action “view” on ph"
        "oto “x.jpg”.",
        "User“alice”可以对 Photo“x.jpg”执行操作“"
        "view”。"},
    {"forbid(principal in Team::\"interns\", action in Action:"
     ":\"infer\", resource in ModelGroup::\"large\") unless { "
     "[\"Mon\",\"Tue\",\"Wed\",\"Thu\",\"Fri\"].contains(conte"
     "xt.time.weekday) && context.time.hour >= 8 && context.ti"
     "me.hour < 18 };",
        "No one in team “interns” may perform any action of "
        "“infer” on anything in model group “large” unles"
        "s the time weekday is one of “Mon”, “Tue”, “We"
        "d”, “Thu” or “Fri” and the time hour is at lea"
        "st 8 and is less than 18.",
        "Team“interns”中的任何成员都不可以对 Model"
        "Group“large”中的任何资源执行“infer”类"
        "操作，除非 time 的 weekday 是“Mon”、“Tue"
        "”、“Wed”、“Thu”或“Fri”之一并且 time"
        " 的 hour 不少于 8 并且小于 18。"},
    {"permit(principal is App::User in App::Group::\"g\", acti"
     "on in [Action::\"a\", Action::\"b\", Action::\"c\"], res"
     "ource is Doc in Folder::\"f\") when { principal.dept == "
     "resource.ownerDept } when { context.mfa } unless { princ"
     "ipal has suspended && principal.suspended };",
        "Every user in group “g” may perform any of the actio"
        "ns “a”, “b” or “c” on any doc in folder “f"
        "” if the user's dept is the doc's owner dept and the m"
        "fa is true, unless the user's suspended is present and t"
        "he user's suspended is true.",
        "Group“g”中的任何 User 都可以对 Folder“f”"
        "中的任何 Doc 执行操作“a”、“b”或“c”"
        "，条件是该 User 的 dept 是该 Doc 的 ownerDept "
        "并且 mfa 为真，除非该 User 的 suspended 存在"
        "并且该 User 的 suspended 为真。"},
    {"permit(principal == ?principal, action, resource in ?res"
     "ource);",
        "The principal that a link names may do anything with any"
        "thing in the resource that a link names.",
        "链接所指定的主体可以对链接所指定的资"
        "源中的任何资源执行任何操作。"},
    {"permit(principal, action in [], resource) when { false }"
     ";",
        "Everyone may do nothing at all with anything - but this "
        "rule can never apply.",
        "任何人都可以对任何资源执行（空列表，"
        "即没有任何操作）——但此规则永远不会"
        "生效。"},
    {"permit(principal, action, resource) when { true } when {"
     " !(context.a < 1 || context.b) };",
        "Everyone may do anything with anything if the a is not l"
        "ess than 1 and the b is false.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是 a 不小于 1 并且 b 为假。"},
    {"permit(principal, action, resource) when { if principal "
     "has a then principal.a == 1 else resource in [F::\"a\", "
     "F::\"b\"] };",
        "Everyone may do anything with anything if (if the princi"
        "pal's a is present, then the principal's a is 1, otherwi"
        "se the resource is in F “a” or F “b”).",
        "任何人都可以对任何资源执行任何操作，"
        "条件是（如果主体的 a 存在，则主体的 a "
        "是 1，否则资源属于 F“a”或 F“b”）。"},
    {"permit(principal, action, resource) when { context.ip.is"
     "InRange(ip(\"10.0.0.0/8\")) && !context.ip.isLoopback() "
     "};",
        "Everyone may do anything with anything if the ip is in t"
        "he range 10.0.0.0/8 and is not a loopback address.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是 ip 在 10.0.0.0/8 网段内并且不是环回"
        "地址。"},
    {"permit(principal, action, resource) when { context.now <"
     " datetime(\"2026-01-01\") && context.now.durationSince(r"
     "esource.created).toDays() <= 30 };",
        "Everyone may do anything with anything if the now is bef"
        "ore 2026-01-01 and the time from the resource's created "
        "to the now in whole days is at most 30.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是 now 早于 2026-01-01 并且从资源的 creat"
        "ed 到 now 的时长的整天数不超过 30。"},
    {"permit(principal, action, resource) when { resource.name"
     " like \"a*\" || resource.name like \"*b*\" || resource.n"
     "ame like \"x*y*\" || resource.name like \"*z\" || resour"
     "ce.name like \"lit\\*\"};",
        "Everyone may do anything with anything if the resource's"
        " name begins with “a” or has “b” in it or has th"
        "e form \"x*y*\" or ends with “z” or is “lit*”.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是资源的 name 以“a”开头或者含有“b"
        "”或者符合模式\"x*y*\"或者以“z”结尾或"
        "者是“lit*”。"},
    {"permit(principal, action, resource) when { principal.has"
     "Tag(\"role\") && principal.getTag(\"role\") == \"admin\""
     " };",
        "Everyone may do anything with anything if the principal "
        "has the tag “role” and the tag “role” of the pri"
        "ncipal is “admin”.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是主体有标签“role”并且主体的标签"
        "“role”是“admin”。"},
    {"permit(principal, action, resource) when { (1 + 2) * 3 -"
     " context.x == -5 && [1,2].containsAll([1]) && context.s."
     "containsAny([\"a\",\"b\"]) && {a: 1} == context.r };",
        "Everyone may do anything with anything if ((1 + 2) × 3)"
        " - the x is -5 and the set of 1 and 2 contains all of 1 "
        "and the s contains any of “a” or “b” and `{a: 1}"
        "` is the r.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是((1 + 2) × 3) - x 是-5 并且集合（1 和 2"
        "）包含 1 的全部并且 s 包含“a”或“b”中"
        "的至少一个并且`{a: 1}`是 r。"},
    {"permit(principal, action, resource) when { \"\\u{202e}\\n"
     "\\u{200b}evil\" == context.x && context[\"odd name\"] ha"
     "s \"b c\" && resource has a.b.c };",
        "Everyone may do anything with anything if “\\u{202e}\\u"
        "{a}\\u{200b}evil” is the x and the “odd name” “b"
        " c” is present and the resource's a's b's c is present"
        ".",
        "任何人都可以对任何资源执行任何操作，"
        "条件是“\\u{202e}\\u{a}\\u{200b}evil”是 x 并且"
        "“odd name”的“b c”存在并且资源的 a 的 b "
        "的 c 存在。"},
    {"permit(principal, action, resource) when { decimal(\"1.5"
     "\").lessThan(context.score) && principal is User in Grou"
     "p::\"g\" && (context.a == 1) == true };",
        "Everyone may do anything with anything if 1.5 is less th"
        "an the score and the principal is of the type user and i"
        "n group “g” and whether the a is 1 is true.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是 1.5 小于 score 并且主体属于类型 User"
        " 并属于 Group“g”并且“a 是 1”是否成立"
        "是 true。"},
    {"forbid(principal is User, action == Action::\"view\", re"
     "source) unless { resource in principal.folders || action"
     " == Action::\"x\" } unless { [].isEmpty() };",
        "No user may perform the action “view” on anything un"
        "less (the resource is in the user's folders or the actio"
        "n is action “x”) or the empty set is empty.",
        "任何 User 都不可以对任何资源执行操作“vi"
        "ew”，除非（资源属于该 User 的 folders 或者"
        "操作是 Action“x”）或者空集为空。"},
    {"permit(principal, action, resource) when { context.d.off"
     "set(duration(\"1h\")) >= datetime(\"2026-01-01T00:00:00Z"
     "\") || context.d.toTime() < duration(\"8h\") };",
        "Everyone may do anything with anything if 1h after the d"
        " is not before 2026-01-01T00:00:00Z or the time of day o"
        "f the d is less than 8h.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是 d 之后 1h 不早于 2026-01-01T00:00:00Z 或"
        "者 d 的时刻小于 8h。"},
    {"permit(principal, action, resource) when { !(principal i"
     "n Group::\"a\" && context.n != 1) && !(if context.b then"
     " true else context.c) };",
        "Everyone may do anything with anything if (the principal"
        " is not in group “a” or the n is 1) and (if the b is"
        " true, then it is never so, otherwise the c is false).",
        "任何人都可以对任何资源执行任何操作，"
        "条件是（主体不属于 Group“a”或者 n 是 1"
        "）并且（如果 b 为真，则恒不成立，否则 c"
        " 为假）。"},
    {"permit(principal, action, resource) when { [context.a].c"
     "ontains(1) && [principal, resource].contains(User::\"x\""
     ") && context.l.isEmpty() && !context.l.contains(\"x\") }"
     ";",
        "Everyone may do anything with anything if 1 is the a and"
        " user “x” is one of the principal or the resource an"
        "d the l is empty and does not contain “x”.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是 1 是 a 并且 User“x”是主体或资源"
        "之一并且 l 为空并且不包含“x”。"},
    {"permit(principal, action, resource) when { ip(context.t)"
     ".isIpv4() && !ip(\"::1\").isIpv6() && context.i.isMultic"
     "ast() && (if context.b then 1 else 2) == 1 };",
        "Everyone may do anything with anything if the t read as "
        "an IP address is an IPv4 address and ::1 is not an IPv6 "
        "address and the i is a multicast address and (1 if the b"
        " is true, otherwise 2) is 1.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是由 t 得到的IP地址是IPv4地址并且::1 "
        "不是IPv6地址并且 i 是组播地址并且（如果 "
        "b 为真则为 1，否则为 2）是 1。"},
    {"permit(principal, action, resource) when { principal is "
     "User && !(principal is User in Group::\"g\") && context "
     "like \"*\" && !context.b && -context.n < -(1) };",
        "Everyone may do anything with anything if the principal "
        "is of the type user and is not both of the type user and"
        " in group “g” and the context is any text and the b "
        "is false and -the n is less than -1.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是主体属于类型 User 并且并非既属于"
        "类型 User 又属于 Group“g”并且上下文是任"
        "意文本并且 b 为假并且-n 小于-1。"},
    {"permit(principal, action, resource) when { context.s == "
     "\"a ” may not “ b\" };",
        "Everyone may do anything with anything if the s is “a "
        "\\u{201d} may not \\u{201c} b”.",
        "任何人都可以对任何资源执行任何操作，"
        "条件是 s 是“a \\u{201d} may not \\u{201c} b”。"},
    {"permit(principal, action, resource) unless { true };",
        "Everyone may do anything with anything - but this rule c"
        "an never apply.",
        "任何人都可以对任何资源执行任何操作—"
        "—但此规则永远不会生效。"},
    {"permit(principal, action, resource) unless { false };",
        "Everyone may do anything with anything.",
        "任何人都可以对任何资源执行任何操作。"},
    {"permit(principal, action, resource) when { context.a.isInRange() };",
        "Everyone may do anything with anything if "
        "`context.a.isInRange()` is true.",
        "任何人都可以对任何资源执行任何操作，条件是`context.a.isInRange()`为"
        "真。"},
};

static void describe(struct buf *out, const char *text,
    enum cedar_language language, const struct cedar_vocabulary *vocabulary)
{
    struct cedar_policies *policies;
    buf_init(out, 1 << 20);
    assert_int_equal(
        cedar_policies_parse(str_from(text), NULL, &policies), ERR_OK);
    cedar_describe(out,
        cedar_policies_count(policies) > 0
            ? cedar_policies_at(policies, 0)
            : cedar_policies_template_at(policies, 0),
        language, vocabulary);
    cedar_policies_free(&policies);
}

static void check(const char *text, const char *words,
    enum cedar_language language, const struct cedar_vocabulary *vocabulary)
{
    struct buf out;
    describe(&out, text, language, vocabulary);
    assert_string_equal(buf_cstr(&out), words);
    buf_fini(&out);
}

static void test_sentences(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(rows[i].policy, rows[i].english, CEDAR_ENGLISH, NULL);
        check(rows[i].policy, rows[i].chinese, CEDAR_CHINESE, NULL);
    }
}

/* Comments and annotations say nothing: they need not be true. */
static void test_only_the_rule(void **state)
{
    check("// nobody may do anything\n@id(\"x\") @title(\"Nobody may\")\n"
          "permit(principal, action, resource); // or may they?",
        "Everyone may do anything with anything.", CEDAR_ENGLISH, NULL);
}

static const struct cedar_word types[] = {
    {"Team", {"team", "团队"}},
    {"principal", {"caller", "调用者"}},
    {"resource", {"model", "模型"}},
};
static const struct cedar_word actions[] = {
    {"chat", {"use $ to chat", "使用$聊天"}},
    {"embed", {"use $ to embed", "使用$生成向量"}},
    {"read", {"look at $", "查看$"}},
};
static const struct cedar_word attributes[] = {
    {"context.time.hour", {"the hour", "钟点"}},
    {"principal.kind", {"the caller's kind", NULL}},
};
static const struct cedar_word facts[] = {
    {"context.stream", {"the answer is streamed", "回答以流式返回"}},
    {"!context.stream", {"the answer is not streamed", "回答不以流式返回"}},
};
#define WORDS(table)                                                           \
    {                                                                          \
        table, sizeof table / sizeof table[0]                                  \
    }
static const struct cedar_vocabulary vocabulary = {
    .types = WORDS(types),
    .actions = WORDS(actions),
    .attributes = WORDS(attributes),
    .facts = WORDS(facts),
};

static void test_vocabulary(void **state)
{
    static const char *const hours =
        "forbid(principal in Team::\"interns\", action in [Action::\"chat\", "
        "Action::\"embed\"], resource) unless { context.time.hour >= 8 && "
        "context.time.hour < 18 && !context.stream };";
    check(hours,
        "No one in team “interns” may use any model to chat or to embed unless "
        "the hour is at least 8 and is less than 18 and the answer is not "
        "streamed.",
        CEDAR_ENGLISH, &vocabulary);
    check(hours,
        "团队“interns”中的任何成员都不可以使用任何模型聊天或生成向量，除非钟点"
        "不"
        "少于 8 并且小于 18 并且回答不以流式返回。",
        CEDAR_CHINESE, &vocabulary);
    static const char *const mixed =
        "permit(principal, action in [Action::\"chat\", Action::\"read\"], "
        "resource == Model::\"m\") when { principal.kind == \"person\" && "
        "context.stream == true && principal.x == resource.x };";
    check(mixed,
        "Everyone may perform any of the actions “chat” or “read” on model “m” "
        "if the caller's kind is “person” and the answer is streamed and the "
        "caller's x is the model's x.",
        CEDAR_ENGLISH, &vocabulary);
}

/* --- Explanations --- */

static void explain(
    const char *text, const char *words, enum cedar_language language)
{
    struct arena *arena = arena_new(4096, 0);
    struct cedar_policies *policies;
    struct cedar_uid alice = cedar_uid_make(STR("User"), STR("alice"));
    struct cedar_uid chat = cedar_uid_make(STR("Action"), STR("chat"));
    struct cedar_uid model = cedar_uid_make(STR("Model"), STR("m"));
    struct cedar_field fields[2] = {
        {cedar_key_make(STR("tokens")), cedar_long(8192)},
        {cedar_key_make(STR("route")), cedar_string(STR("chat"))}};
    struct cedar_record context;
    assert_int_equal(cedar_record_init(&context, fields, 2), ERR_OK);
    struct cedar_request request = {&alice, &chat, &model, &context};
    struct cedar_explanation explanation;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(
        cedar_policies_parse(str_from(text), NULL, &policies), ERR_OK);
    assert_int_equal(
        cedar_explain(policies, 0, NULL, &request, arena, &explanation),
        ERR_OK);
    cedar_describe_explanation(&out, &explanation, &request, language, NULL);
    assert_string_equal(buf_cstr(&out), words);
    buf_fini(&out);
    cedar_policies_free(&policies);
    arena_free(&arena);
}

static void test_explanations(void **state)
{
    explain("permit(principal, action, resource);", "applies", CEDAR_ENGLISH);
    explain("permit(principal in Team::\"x\", action, resource);",
        "does not apply: user “alice” is not in team “x”", CEDAR_ENGLISH);
    explain("permit(principal in Team::\"x\", action, resource);",
        "不适用：User“alice”不属于 Team“x”", CEDAR_CHINESE);
    explain("permit(principal, action in [Action::\"a\", Action::\"b\"], "
            "resource);",
        "does not apply: action “chat” is not in action “a” or action “b”",
        CEDAR_ENGLISH);
    explain("permit(principal, action in [], resource);",
        "does not apply: no action fits an empty list", CEDAR_ENGLISH);
    explain("permit(principal, action, resource is Doc);",
        "does not apply: model “m” is not of the type doc", CEDAR_ENGLISH);
    explain("permit(principal, action, resource) when { context.tokens < 4096 "
            "};",
        "does not apply: the tokens is not less than 4096 (the tokens is 8192)",
        CEDAR_ENGLISH);
    explain("permit(principal, action, resource) when { context.tokens < 4096 "
            "};",
        "不适用：tokens 不小于 4096（tokens 是 8192）", CEDAR_CHINESE);
    explain("permit(principal, action, resource) unless { context.route == "
            "\"chat\" };",
        "does not apply: the route is “chat” (the route is \"chat\")",
        CEDAR_ENGLISH);
    static const struct {
        const char *condition, *english, *chinese;
    } failures[] = {
        {"context.x", "the record has no attribute “x”", "记录中没有属性“x”"},
        {"context.tokens",
            "true or false was expected where a number stood: 8192",
            "此处应为布尔值，实为整数：8192"},
        {"context.route < 1",
            "a number or a date or a duration was expected where a text stood: "
            "\"chat\"",
            "此处应为整数或日期时间或时长，实为文本：\"chat\""},
        {"principal.a == 1", "there is no entity user “alice”",
            "没有实体 User“alice”"},
        {"principal.getTag(\"t\") == 1", "there is no entity user “alice”",
            "没有实体 User“alice”"},
        {"context.tokens * 9223372036854775807 == 1",
            "the result does not fit 64 bits", "结果超出64位整数的范围"},
        {"ip(context.route).isIpv4()", "\"chat\" is no valid ip",
            "\"chat\"不是有效的 ip"},
        {"ip()", "ip was given a wrong number of arguments",
            "ip 的参数个数不对"},
    };
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        char policy[200], english[300], chinese[300];
        snprintf(policy, sizeof policy,
            "permit(principal, action, resource) when { %s };",
            failures[i].condition);
        snprintf(english, sizeof english, "could not be evaluated: %s",
            failures[i].english);
        snprintf(chinese, sizeof chinese, "无法求值：%s", failures[i].chinese);
        explain(policy, english, CEDAR_ENGLISH);
        explain(policy, chinese, CEDAR_CHINESE);
    }
}

static void test_languages(void **state)
{
    enum cedar_language language;
    assert_true(cedar_language_find(STR("zh-CN"), &language));
    assert_int_equal(language, CEDAR_CHINESE);
    assert_true(cedar_language_find(STR("en"), &language));
    assert_int_equal(language, CEDAR_ENGLISH);
    assert_false(cedar_language_find(STR("zhx"), &language));
    assert_false(cedar_language_find(STR(""), &language));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_only_the_rule),
        cmocka_unit_test(test_vocabulary),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_languages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
