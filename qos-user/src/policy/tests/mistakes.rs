//! One snapshot for each kind of mistake, as the user sees it.

use super::{EDGE, macros::mistakes, read};
use crate::{error::Exit, policy::*};

pub(super) fn rendered(text: &str) -> String {
    read(text).expect_err("this has a mistake in it").render(false)
}

/// Snapshots of whole files.
macro_rules! files {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(rendered($text));
        }
    )*};
}

files! {
    version_missing: "name = \"test\"\n";
    version_of_the_future: "version = 2\nname = \"test\"\n";
    version_not_an_integer: "version = \"1\"\nname = \"test\"\n";
    name_missing: "version = 1\n";
    name_empty: "version = 1\nname = \"\"\n";
    name_too_long: "version = 1\nname = \"0123456789012345678901234567890123456789012345678901234567890123x\"\n";
    name_with_control_character: "version = 1\nname = \"a\\u0007b\"\n";
    name_not_a_string: "version = 1\nname = 5\n";
    empty: "\n  \n";
    not_a_table: "version = 1\nname = \"test\"\nremark = 5\n[[interface]]\nx = 1\n";
}

mistakes! {
    unknown_section: "[interfaces.lan0]\ningress = \"x\"";
    sections_of_other_tools: "[table.a]\nother = \"keep\"\n[[policy]]\nname = \"x\"";
    interface_keys_of_other_tools: "[interface.lan0]\ninput = \"a\"\ntable = \"a\"\nset = \"EF\"";
    unknown_section_far_from_all: "[something.lan0]";

    class_not_a_list: "[classes]\nvoice = \"EF\"";
    class_as_text: "[classes]\nvoice = \"EF, VA\"\nvideo = [\"AF41,AF42\"]";
    class_of_another_kind: "[classes]\nvoice = 5";
    class_empty: "[classes]\nvoice = []";
    class_called_as_a_codepoint: "[classes]\nef = [\"EF\"]";
    class_called_as_a_number: "[classes]\n99 = [\"EF\"]";
    class_called_keep: "[classes]\nkeep = [\"EF\"]";
    class_called_before: "[classes]\nbefore = [\"EF\"]";
    class_called_with_blank: "[classes]\n\"my voice\" = [\"EF\"]";
    class_member_of_another_kind: "[classes]\nvoice = [\"EF\", true]";
    class_member_unknown: "[classes]\nvoice = [\"EF\", \"VAA\"]";
    codepoint_in_two_classes: "[classes]\nvoice = [\"EF\", \"VA\"]\nvideo = [\"AF41\", 46]";
    codepoint_twice_in_a_class: "[classes]\nvoice = [\"EF\", \"tos=184\"]";

    table_without_other: "[remark.a]\nEF = \"keep\"";
    table_with_default: "[remark.a]\ndefault = \"keep\"";
    table_name_empty: "[remark.\"\"]\nother = \"keep\"";
    table_with_a_dot: "[remark.to.isp]\nother = \"keep\"";
    table_not_a_table: "[remark]\na = \"keep\"";
    af_class_out_of_range: "[remark.a]\naf44 = \"DF\"\nother = \"keep\"";
    class_selector_out_of_range: "[remark.a]\nEF = \"CS8\"\nother = \"keep\"";
    tos_byte_as_key: "[remark.a]\n184 = \"DF\"\nother = \"keep\"";
    tos_byte_as_value: "[remark.a]\nDF = 184\nother = \"keep\"";
    number_too_large: "[remark.a]\nDF = 256\nother = \"keep\"";
    number_negative: "[remark.a]\nDF = -1\nother = \"keep\"";
    tos_too_large: "[remark.a]\n\"tos=256\" = \"DF\"\nother = \"keep\"";
    key_near_a_class: "[classes]\nvoice = [\"EF\"]\n[remark.a]\nvioce = \"DF\"\nother = \"keep\"";
    key_near_other: "[remark.a]\nEF = \"DF\"\nothers = \"keep\"";
    key_near_a_codepoint: "[remark.a]\nAF4l = \"DF\"\nother = \"keep\"";
    key_near_nothing: "[remark.a]\nexpedited = \"DF\"\nother = \"keep\"";
    value_is_a_class: "[classes]\nbulk = [\"LE\", \"CS1\"]\n[remark.a]\nEF = \"bulk\"\nother = \"keep\"";
    value_is_drop: "[remark.a]\nEF = \"drop\"\nother = \"keep\"";
    value_in_words_of_a_firewall: "[remark.a]\nEF = \"pass\"\nVA = \"deny\"\nother = \"keep\"";
    value_near_keep: "[remark.a]\nEF = \"kep\"\nother = \"keep\"";
    value_is_a_list: "[remark.a]\nEF = [\"DF\"]\nother = \"keep\"";
    value_is_a_float: "[remark.a]\nEF = 1.5\nother = \"keep\"";
    codepoint_in_two_notations: "[remark.a]\nEF = \"keep\"\nCS1 = \"DF\"\n\"46\" = \"DF\"\nother = \"keep\"";

    interface_with_a_dot: "[interface.wan0.100]\ningress = \"a\"\n[remark.a]\nother = \"keep\"";
    interface_with_two_dots: "[interface.wan0.100.7]\ningress = \"a\"\n[remark.a]\nother = \"keep\"";
    interface_with_a_star: "[interface.ppp*]\ningress = \"a\"\n[remark.a]\nother = \"keep\"";
    interface_too_long: "[interface.a123456789012345]";
    interface_name_empty: "[interface.\"\"]";
    interface_with_a_slash: "[interface.\"a/b\"]";
    interface_with_a_colon: "[interface.\"eth0:1\"]";
    interface_with_a_blank: "[interface.\"eth 0\"]";
    star_in_the_middle: "[interface.\"p*p\"]";
    two_stars: "[interface.\"ppp**\"]";
    interface_key_unknown: "[interface.lan0]\ningres = \"a\"\n[remark.a]\nother = \"keep\"";
    inside_unknown: "[interface.lan0]\ninside = [\"ppoe\", \"mpls\"]";
    inside_far_from_all: "[interface.lan0]\ninside = [\"vxlan\"]";
    inside_of_another_kind: "[interface.lan0]\ninside = \"pppoe\"";
    inside_with_another_kind: "[interface.lan0]\ninside = [8864]";
    outer_unknown: "[interface.wan0]\nouter = \"tunels\"\n[remark.tunnels]\nother = \"keep\"";
    outer_of_another_kind: "[interface.wan0]\nouter = [\"vxlan\"]";
    hook_unknown: "[interface.lan0]\nhook = \"tc\"";
    hook_far_from_all: "[interface.lan0]\nhook = \"netfilter\"";
    hook_of_another_kind: "[interface.lan0]\nhook = [\"xdp\"]";
    table_unknown: "[interface.lan0]\ningress = \"to-ips\"\n[remark.to-isp]\nother = \"keep\"";
    table_unknown_and_none_near: "[interface.lan0]\ningress = \"to-isp\"";
    table_of_another_kind: "[interface.lan0]\ningress = [\"to-isp\"]";
    local_unknown: "[interface.lan0]\nlocal = \"keep-controls\"";
    local_far_from_all: "[interface.lan0]\nlocal = \"no\"";

    key_twice: "[remark.a]\nEF = \"keep\"\nother = \"keep\"\nEF = \"DF\"";
    section_twice: "[remark.a]\nother = \"keep\"\n[classes]\nvoice = [\"EF\"]\n[remark.a]\nother = \"DF\"";
    section_of_dotted_keys_again: "remark.a.other = \"keep\"\n[remark.a]\nother = \"DF\"";
    toml_string_not_closed: "[remark.a]\nother = \"keep\nEF = \"DF\"";
    toml_string_not_closed_in_brackets: "[[rule]]\nmatch = { dscp = \"EF }\nset = \"DF\"\n[classes]\nvoice = [\"EF]\nvideo = [\n  \"AF41]\n]";
    toml_string_of_many_lines_not_closed: "[remark.a]\nother = \"\"\"keep\nEF = \"DF\"";
    toml_string_not_opened: "[remark.a]\nother = keep\"\n[classes]\nvoice = [\"EF, \"VA\"]";
    toml_no_value: "[remark.a]\nEF =\nother = \"keep\"";
    toml_no_equals: "[remark.a]\nEF \"keep\"\nother = \"keep\"";
    toml_bracket_not_closed: "[remark.a\nother = \"keep\"";
    toml_list_not_closed: "[classes]\nvoice = [\"EF\"";
    toml_word_without_quotes: "[remark.a]\nother = keep";
    toml_integer_too_large: "[remark.a]\nother = 99999999999999999999";
    syntax_and_meaning: "[classes]\nvoice = [\"EF\", \"VAA\"]\n[remark.a]\nvoice = \"AF44\"\nEF keep\nother = keep\n[interface.b]\ningres = 1";
    value_unread_hides_nothing_else: "[remark.a]\nother = keep\n[[rule]]\nname = \"r\"\non = \"a:ingress\"\nmatch = { dscp = \"voise\", src = \"@pxb\" }\nset = EF\n[classes]\nvoice = [\"EF\"]\n[sets]\npbx = [\"10.0.0.0/8\", ten]";
    section_unread_may_hide_names: "classes = voice\nsets = pbx\nremark = a\n[[rule]]\nname = \"r\"\non = \"a:ingress\"\nmatch = { dscp = \"voice\", src = \"@pbx\" }\nset = \"EF\"\n[interface.b]\ningress = \"a\"";
    syntax_may_hide_what_is_missing: "[classes]\nvoice [\"EF\"]\n[remark.a\nother = 0\n[remark.b]\nvoice = 0\n[interface.c]\negress = \"a\"";
    toml_bracket_takes_in_the_rest: "[classes]\nvoice = [\"EF\"\n[remark.a]\nvoice = \"AF44\"\nother = keep\n[interface.b]\ningres = 1";

    many_at_once: "[classes]\nvoice = [\"EF\", \"AF44\"]\n[interface.lan0]\ningress = \"b\"\nlocal = 1\n[remark.a]\nEF = 184";
    not_ascii: "[remark.a]\n\"Größe\" = \"DF\"  # größer\nother = \"ké\"";
    tab_before: "[remark.a]\n\tother\t=\t\"kept\"";
}

files! {
    json_comma_missing: "{\"version\": 1\n \"name\": \"test\"}";
    json_comma_too_many: "{\"version\": 1,\n \"name\": \"test\",\n}";
    json_not_closed: "{\"version\": 1,\n \"name\": \"test\"";
    json_string_not_closed: "{\"version\": 1,\n \"name\": \"test}";
    json_key_without_quotes: "{version: 1}";
    json_word: "{\"version\": 1, \"name\": test}";
    json_bad_escape: "{\"version\": 1, \"name\": \"te\\st\"}";
    json_bad_number: "{\"version\": 01, \"name\": \"test\"}";
    json_text_behind: "{\"version\": 1, \"name\": \"test\"}\n}";
    json_key_twice: "{\"version\": 1, \"name\": \"test\",\n \"remark\": {\"a\": {\"EF\": \"DF\",\n  \"EF\": 5, \"other\": \"keep\"}}}";
    json_meaning: "{\"version\": 1, \"name\": null,\n \"remark\": {\"a\": {\"EF\": \"AF44\", \"CS1\": 1.5}},\n \"interface\": {\"wan0\": {\"100\": {\"ingress\": \"a\"}}}}";
}

#[test]
fn json_too_deep() {
    let text = format!("{{\"version\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let report = read(&text).unwrap_err();
    assert_eq!(report.diagnostics()[0].title(), "more than 16 levels of objects and arrays");
}

#[test]
fn toml_too_deep() {
    for text in [
        format!("version = {}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("version = {}1{}", "{a=".repeat(100_000), "}".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ] {
        assert!(!read(&text).unwrap_err().is_empty());
    }
}

#[test]
fn a_name_without_quotes_is_no_boolean() {
    for (value, title) in [("to-isp", "string values must be quoted"), ("ture", "invalid boolean")] {
        let report = read(&format!("version = 1\nname = \"x\"\n[interface.wan0]\negress = {value}\n")).unwrap_err();
        assert_eq!(report.diagnostics()[0].title(), title);
    }
}

#[test]
fn typographic_quotes_are_no_part_of_the_word() {
    let report = read("version = 1\nname = \"x\"\n[interface.wan0]\negress = \u{201c}to-isp\u{201d}\n").unwrap_err();
    let text = report.render(false);
    assert!(text.contains("write \"to-isp\""), "{text}");
}

#[test]
fn not_utf8() {
    let bytes = [&EDGE.as_bytes()[..50], b"\xff\xfe", &EDGE.as_bytes()[50..]].concat();
    insta::assert_snapshot!(Source::new("policy.toml", bytes).unwrap_err().render(false));
}

#[test]
fn too_large() {
    assert!(Source::new("policy.toml", vec![b'#'; MAX_BYTES]).is_ok());
    insta::assert_snapshot!(Source::new("policy.toml", vec![b'#'; MAX_BYTES + 1]).unwrap_err().render(false));
}

#[test]
fn color_marks_the_same_text() {
    let report = read("version = 2\nname = \"test\"\n").unwrap_err();
    assert_ne!(report.render(true), report.render(false));
    assert!(report.render(true).contains("\u{1b}["));
}

#[test]
fn each_is_the_failure_of_a_command() {
    let text = "version = 1\nname = \"test\"\n[remark.a]\n  EF = 184\n  other = \"kepp\"\n";
    let report = read(text).unwrap_err();
    assert_eq!(report.diagnostics().len(), 2);
    let failures = report.failures();
    assert_eq!(failures[1].message, "unknown DSCP `kepp`");
    let failure = &failures[0];
    assert_eq!((failure.code, failure.exit), ("policy", Exit::Usage));
    assert_eq!(failure.message, "`184` is not a DSCP: they are 0 to 63");
    assert_eq!(failure.hint.as_deref(), Some("did you mean tos=184, which is EF?"));
    let place = failure.place.as_ref().unwrap();
    assert_eq!((&*place.file, place.line, place.column), ("policy.toml", 4, 8));
}

#[test]
fn columns_are_characters() {
    let report = read("version = 1\nname = \"test\"\nremark.\"ü\".other = \"kept\"\n").unwrap_err();
    assert_eq!(report.diagnostics()[0].place().column, 20);
}

#[test]
fn a_thousand_mistakes_are_fifty_and_a_number() {
    let lines: String = (0..1000).map(|n| format!("key-{n} = \"nonsense\"\n")).collect();
    for text in [format!("version = 1\nname = \"test\"\n[remark.a]\n{lines}"), "= \n".repeat(1000)] {
        let report = read(&text).unwrap_err();
        assert_eq!(report.diagnostics().len(), MAX_DIAGNOSTICS);
        assert!(report.more() >= 950);
        assert!(report.render(false).ends_with(&format!("\nand {} more\n", report.more())));
    }
}

#[test]
fn mistakes_come_in_the_order_of_the_file() {
    let report = read("[remark.a]\nEF = 184\n[classes]\nvoice = [\"AF44\"]\n[interface.b]\nlocal = 1\n").unwrap_err();
    let lines = report.diagnostics().iter().map(|found| found.place().line).collect::<Vec<_>>();
    assert_eq!(lines, [1, 1, 1, 2, 4, 6]);
}
