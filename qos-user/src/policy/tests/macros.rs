//! A snapshot for each mistake.

/// Snapshots of files that are whole but for the sections given.
macro_rules! mistakes {
    ($($name:ident: $sections:expr;)*) => {$(
        #[test]
        fn $name() {
            let text = format!("version = 1\nname = \"test\"\n\n{}\n", $sections);
            insta::assert_snapshot!($crate::policy::tests::mistakes::rendered(&text));
        }
    )*};
}

/// Snapshots of a rule with a name, at `lan0:ingress` or where `on` says, that is wrong in these lines.
macro_rules! rules {
    ($($name:ident: $lines:expr;)*) => {$(
        #[test]
        fn $name() {
            let on = if $lines.contains("on =") || $lines.contains("onn =") { "" } else { "on = \"lan0:ingress\"\n" };
            let text = format!("version = 1\nname = \"test\"\n[[rule]]\nname = \"a rule\"\n{on}{}\n", $lines);
            insta::assert_snapshot!($crate::policy::tests::mistakes::rendered(&text));
        }
    )*};
}

pub(super) use {mistakes, rules};
