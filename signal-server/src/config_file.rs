//! The configuration as a commented TOML file: written by `--print-config`, read by `--config`.
//!
//! Every option that is a flag and a variable is a key here. A flag counts before its variable, the variable before the file, the file
//! before the default; values go through the same parser, so they are refused in the same words.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, Error, FromArgMatches};
use serde::Deserialize;

use crate::config::Config;

/// What may stand behind a key.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Switch(bool),
    Number(u64),
    Text(String),
    List(Vec<String>),
}

/// Reads flags, variables and the file that they name; with the configuration comes the file that says the same.
///
/// # Errors
/// As clap makes them, with the name of the option.
pub fn load(arguments: impl IntoIterator<Item = OsString>) -> Result<(Config, String), Error> {
    let mut command = Config::command();
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut matches = command.try_get_matches_from_mut(&arguments)?;
    if let Some(path) = Config::from_arg_matches(&matches)?.config {
        let program = usize::from(!arguments.is_empty());
        arguments.splice(program..program, from_file(&mut command, &path, &matches)?);
        matches = command.try_get_matches_from_mut(&arguments)?;
    }
    Ok((
        Config::from_arg_matches(&matches)?,
        print(&command, &matches),
    ))
}

/// The flags that say what the file says, but for what flags or variables say already.
fn from_file(
    command: &mut Command,
    path: &Path,
    said: &ArgMatches,
) -> Result<Vec<OsString>, Error> {
    let fail = |why: String| {
        let why = format!("--config {}: {why}", path.display());
        Err(command.clone().error(ErrorKind::ValueValidation, why))
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return fail(error.to_string()),
    };
    let values: BTreeMap<String, Value> = match basic_toml::from_str(&text) {
        Ok(values) => values,
        Err(error) => return fail(error.to_string()),
    };
    let mut flags = Vec::new();
    for (key, value) in values {
        let Some(option) = options(command).find(|arg| arg.get_long() == Some(&key)) else {
            return fail(format!("there is no option {key}"));
        };
        let source = said.value_source(option.get_id().as_str());
        if matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            continue;
        }
        let is_switch = matches!(option.get_action(), ArgAction::SetTrue);
        let mut set = |value: &str| flags.push(format!("--{key}={value}").into());
        match value {
            Value::Switch(on) if is_switch => {
                if on {
                    flags.push(format!("--{key}").into());
                }
            }
            Value::Number(number) if !is_switch => set(&number.to_string()),
            Value::Text(text) if !is_switch => set(&text),
            Value::List(list) if matches!(option.get_action(), ArgAction::Append) => {
                list.iter().for_each(|text| set(text));
            }
            _ => return fail(format!("{key} takes no value of this kind")),
        }
    }
    Ok(flags)
}

/// What a file can set: everything but what is about this one run.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| arg.get_env().is_some())
}

fn print(command: &Command, matches: &ArgMatches) -> String {
    let mut text = String::from(
        "# baton-server. Every option is a flag (--name) and a variable (BATON_NAME) too: a flag counts before its variable,\n\
         # the variable before this file. What is commented out is the default.\n",
    );
    for option in options(command) {
        let name = option.get_long().expect("every option has a long name");
        let id = option.get_id().as_str();
        let help = option.get_help().map(ToString::to_string);
        text.push('\n');
        for line in wrapped(&help.unwrap_or_default()) {
            writeln!(text, "# {line}").expect("writing to a string");
        }
        let is_set = matches!(
            matches.value_source(id),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        let values: Vec<String> = matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let mark = if is_set { "" } else { "# " };
        let value = value(option, &values);
        writeln!(text, "{mark}{name} = {value}").expect("writing to a string");
    }
    text
}

/// A value as TOML; for an option without one, what kind of value it takes.
fn value(option: &Arg, values: &[String]) -> String {
    let shape = || {
        let names = option.get_value_names().unwrap_or_default();
        names.first().map_or("…".to_owned(), ToString::to_string)
    };
    match (option.get_action(), values) {
        (ArgAction::SetTrue, _) => values.first().map_or("false".to_owned(), Clone::clone),
        (ArgAction::Append, []) => format!("[{}]", quoted(&shape())),
        (ArgAction::Append, many) => {
            let many: Vec<String> = many.iter().map(|text| quoted(text)).collect();
            format!("[{}]", many.join(", "))
        }
        (_, []) => quoted(&shape()),
        (_, [one, ..]) if is_number(option, one) => one.clone(),
        (_, [one, ..]) => quoted(one),
    }
}

/// Whether it may stand without quotes: a text that looks like a number must not, nor one that TOML writes otherwise or has no room for.
fn is_number(option: &Arg, value: &str) -> bool {
    let kind = option.get_value_parser().type_id();
    let counts = kind == TypeId::of::<u32>()
        || kind == TypeId::of::<u64>()
        || kind == TypeId::of::<usize>()
        || kind == TypeId::of::<Duration>();
    let number = value.parse::<i64>().map(|number| number.to_string());
    counts && number.is_ok_and(|written| written == value)
}

/// A basic string of TOML 1.0.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                write!(quoted, "\\u{:04X}", u32::from(control)).expect("writing to a string");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Lines of at most 110 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if !line.is_empty() && line.len() + 1 + word.len() > 110 {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(arguments: &[&str]) -> Result<(Config, String), Error> {
        load(["baton-server"].iter().chain(arguments).map(OsString::from))
    }

    /// A file of its own, removed on drop.
    struct File(std::path::PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let name = format!("baton-{name}-{}.toml", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, text).unwrap();
            Self(path)
        }

        fn with(&self, arguments: &[&str]) -> Result<(Config, String), Error> {
            let config = ["--config", self.0.to_str().unwrap()];
            loaded(&[&config[..], arguments].concat())
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn every_option_is_in_the_documentation_with_its_default_and_nothing_else_is() {
        let row = |line: &str| {
            let mut cells = line.strip_prefix("| `--")?.split('|').map(str::trim);
            let name = cells.next()?.strip_suffix('`')?;
            Some((name.to_owned(), cells.next()?.to_owned()))
        };
        let docs = include_str!("../../docs/signalling.md");
        let mut documented: Vec<_> = docs.lines().filter_map(row).collect();
        let mut command = Config::command();
        command.build();
        let option = |option: &Arg| {
            let name = option.get_long().unwrap().to_owned();
            let variable = format!("BATON_{}", name.to_uppercase().replace('-', "_"));
            assert_eq!(option.get_env().unwrap(), &*variable);
            let default = option.get_default_values().first();
            (
                name,
                default.map_or("".into(), |it| it.to_string_lossy().into_owned()),
            )
        };
        let mut real: Vec<_> = options(&command).map(option).collect();
        documented.sort();
        real.sort();
        assert_eq!(documented, real);
    }

    #[test]
    fn every_option_is_in_the_printed_file_with_its_default() {
        let (_, printed) = loaded(&[]).unwrap();
        let command = Config::command();
        for option in options(&command) {
            let line = format!("\n# {} = ", option.get_long().unwrap());
            assert!(printed.contains(&line), "{line}");
        }
        assert!(printed.contains("\n# messages-burst = 1000\n"));
        assert!(printed.contains("\n# listen = \"127.0.0.1:8080\"\n"));
    }

    #[test]
    fn what_is_printed_reads_as_it_was() {
        let arguments = [
            "--listen",
            "127.0.0.1:1",
            "--ice",
            "stun:a:1",
            "--ice",
            "turn:b:2,me,pa\"ss",
            "--keepalive",
            "7",
            "--allow-origin",
            "*",
        ];
        let (config, printed) = loaded(&arguments).unwrap();
        let file = File::new("printed", &printed);
        let (mut again, same) = file.with(&[]).unwrap();
        again.config = None;
        assert_eq!(format!("{config:?}"), format!("{again:?}"));
        assert_eq!(printed, same);
    }

    /// Sets two options of text to it, one of them a list, and reads what is printed.
    fn comes_back(text: &str) {
        let store = format!("--acme-store={text}");
        let ice = format!("--ice=turn:a:1,me,{}", text.replace([' ', ','], ""));
        let (config, printed) = loaded(&[&store, &ice]).unwrap();
        assert_eq!(config.acme.store.as_deref(), Some(Path::new(text)));
        let name = format!("text-{:?}", std::thread::current().id());
        let file = File::new(&name, &printed);
        let (mut again, same) = file.with(&[]).unwrap();
        again.config = None;
        assert_eq!(format!("{config:?}"), format!("{again:?}"));
        assert_eq!(printed, same);
    }

    #[test]
    fn text_that_looks_like_something_else_comes_back_as_it_was() {
        for text in [
            "007",
            "+5",
            "-5",
            "5",
            "99999999999999999999",
            "true",
            "1e3",
            "e\u{301}",
            "\u{7f}\u{80}\u{1}\t",
            "a\r\nb",
            "\\u0041",
            "\"\"\"",
            "# no comment",
            "\u{feff}\u{2028}\u{1f3a5}",
        ] {
            comes_back(text);
        }
        let (_, printed) = loaded(&["--acme-store=5", "--keepalive=+5"]).unwrap();
        assert!(printed.contains("\nacme-store = \"5\"\n"));
        assert!(printed.contains("\nkeepalive = \"+5\"\n"));
    }

    proptest::proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(text in "[^\0]{1,20}") {
            comes_back(&text);
        }
    }

    #[test]
    fn defaults_may_be_written_out() {
        let (config, printed) = loaded(&[]).unwrap();
        let command = Config::command();
        let has_default = |line: &&str| {
            options(&command).any(|option| {
                !option.get_default_values().is_empty()
                    && line.starts_with(&format!("# {} = ", option.get_long().unwrap()))
            })
        };
        let lines: Vec<&str> = printed
            .lines()
            .filter(has_default)
            .map(|line| &line[2..])
            .collect();
        assert!(lines.len() > 15);
        let file = File::new("defaults", &lines.join("\n"));
        let (mut again, _) = file.with(&[]).unwrap();
        again.config = None;
        assert_eq!(format!("{config:?}"), format!("{again:?}"));
    }

    #[test]
    fn a_flag_counts_before_the_file() {
        let file = File::new("flag", "keepalive = 9\nhost = [\"a\", \"b\"]\ngrace = 3");
        let (config, _) = file.with(&["--keepalive", "8", "--host", "c"]).unwrap();
        assert_eq!(config.limits.keepalive.as_secs(), 8);
        assert_eq!(config.limits.grace.as_secs(), 3);
        assert_eq!(config.hosts, ["c"]);
    }

    #[test]
    fn what_a_file_gets_wrong_is_named() {
        let refused = |text: &str| {
            let file = File::new(&format!("wrong-{}", text.len()), text);
            file.with(&[]).unwrap_err().to_string()
        };
        assert!(refused("listen = \"nowhere\"").contains("--listen"));
        assert!(refused("keepalive = 0").contains("--keepalive"));
        assert!(refused("lissten = \"127.0.0.1:80\"").contains("lissten"));
        assert!(refused("check-health = true").contains("check-health"));
        assert!(refused("keepalive = [\"1\", \"2\"]").contains("keepalive"));
        assert!(refused("keepalive = ").contains("--config"));
        let missing = loaded(&["--config", "/nowhere/baton.toml"]).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/baton.toml"));
    }
}
