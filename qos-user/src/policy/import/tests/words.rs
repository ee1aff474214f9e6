//! What is said of lines and rules: the right word, the right line.

use super::{Options, imported};

/// What a target has behind it is its own: of one that is not known nothing is taken for a match.
#[test]
fn a_target_that_is_not_known_is_called_one() {
    for target in ["FOO", "FOO --bar 1", "IMQ --todev 0"] {
        let text = format!("*mangle\n-A PREROUTING -p udp -j {target}\nCOMMIT\n");
        let found = imported(&[("x", &text)], &Options::default());
        let [left] = &*found.left else { panic!("{:#?}", found.left) };
        let name = target.split(' ').next().unwrap();
        assert!(left.reason.starts_with(&format!("{name} is no target that is known here")), "{}", left.reason);
        assert!(left.reason.contains("DSCP, TOS, CLASSIFY"), "{}", left.reason);
    }
}
