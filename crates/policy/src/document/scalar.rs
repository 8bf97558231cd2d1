//! Text as YAML: as it is where no parser can take it for something else, else in quotes.

/// `text` as a scalar, for any place in a policy document.
pub fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Words, paths and sentences. Everything that begins like a number, a sign or a word with a meaning is quoted.
fn is_plain(text: &str) -> bool {
    let mut characters = text.chars();
    let starts = characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '/');
    let inside = |c: char| c.is_alphanumeric() || " /._-+=();'*".contains(c);
    let word = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    starts && characters.all(inside) && !text.ends_with(' ') && !word.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            character if character.is_control() => {
                quoted.extend([format!("\\u{:04x}", u32::from(character))]);
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Read {
        key: String,
        list: Vec<String>,
    }

    #[test]
    fn every_text_comes_back_as_it_was() {
        let texts = [
            "",
            "nginx",
            "/usr/bin/x",
            "a: b",
            "a #b",
            "#a",
            "- a",
            "*",
            "&a",
            "!a",
            "yes",
            "No",
            "null",
            "~",
            "12",
            "0x1f",
            "1e3",
            "a, b",
            "[a]",
            "{a}",
            "it's",
            "say \"x\"",
            "\\x1b",
            " a",
            "a ",
            "a\tb",
            "a\u{1b}b",
            "é",
            "sha256:00",
            "nginx:*",
            "%a",
            "@a",
            "`a`",
            "|",
            ">",
            "?",
            "a:",
            "-",
            "...",
            "---",
            ".nan",
            "b\u{85}c",
        ];
        for text in texts {
            let written = format!("key: {}\nlist: [{}]\n", scalar(text), scalar(text));
            let read: Read = serde_yaml::from_str(&written).unwrap();
            assert_eq!((read.key.as_str(), read.list.as_slice()), (text, [text.to_owned()].as_slice()), "{written}");
        }
    }

    #[test]
    fn what_reads_well_is_not_quoted() {
        for text in ["/opt/tool", "/opt/app/**", "in no package that the SBOM lists", "kube-system"] {
            assert_eq!(scalar(text), text);
        }
        assert_eq!(scalar("1.27"), "\"1.27\"");
    }
}
