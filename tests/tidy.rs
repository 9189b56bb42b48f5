//! The house rules that no compiler checks. Uses the standard library only, so that
//! `make check` can build and run it before anything else:
//! `rustc --edition 2024 --test tests/tidy.rs -o target/tidy && target/tidy`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines.
const MAX_LINES: usize = 900;

/// What a module may import beyond the rule "only from those above it in `src/lib.rs`": nothing
/// but this.
const NARROWER: &[(&str, &[&str])] = &[("emulator", &["units", "diag"])];

/// Where `unsafe` may stand.
const UNSAFE_FOLDERS: &[&str] = &[
    "src/train/simd/",
    "runtime/nest-kernels/src/armv7em/",
    "runtime/nest-kernels/tests/",
    "runtime/nest-device/",
    "templates/",
    "tests/",
];

struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(option_env!("CARGO_MANIFEST_DIR").unwrap_or("."))
}

/// All text files of the repository that people write.
fn sources() -> Vec<Source> {
    fn walk(folder: &Path, prefix: &str, out: &mut Vec<Source>) {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
            .map(|entry| entry.unwrap())
            .collect();
        entries.sort_by_key(|entry| entry.file_name());
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
            if hidden
                || ["target", "data", "__pycache__"].contains(&name.as_str()) && prefix.is_empty()
            {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                // Build folders, but not the module of that name.
                if name != "target" || path == "src/target" {
                    walk(&entry.path(), &format!("{path}/"), out);
                }
                continue;
            }
            // Models, pictures and the like are not text.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                out.push(Source { path, text });
            }
        }
    }
    let mut out = Vec::new();
    walk(&root(), "", &mut out);
    assert!(
        out.iter().any(|s| s.path == "src/lib.rs"),
        "not the repository"
    );
    out
}

fn is_rust(source: &Source) -> bool {
    source.path.ends_with(".rs")
}

/// The code of a Rust file: without comments, string contents and its `#[cfg(test)] mod tests`.
fn code(source: &Source) -> String {
    let text = match source.text.find("\n#[cfg(test)]\nmod tests {") {
        Some(at) => &source.text[..at],
        None => &source.text,
    };
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text[i..];
        if rest.starts_with("//") {
            i += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            i += rest.find("*/").map_or(rest.len(), |at| at + 2);
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 1 + hashes + 1;
            i += rest[open..]
                .find(&close)
                .map_or(rest.len(), |at| open + at + close.len());
            out.push_str("\"\"");
        } else if bytes[i] == b'"' {
            i += 1;
            while i < bytes.len() && bytes[i] != b'"' {
                i += if bytes[i] == b'\\' { 2 } else { 1 };
            }
            i += 1;
            out.push_str("\"\"");
        } else if bytes[i] == b'\''
            && rest.len() > 2
            && (rest[1..].starts_with('\\') || rest.as_bytes()[2] == b'\'')
        {
            // A character; a lifetime has no closing quote.
            let from = if rest[1..].starts_with('\\') { 3 } else { 2 };
            i += rest[from..].find('\'').map_or(1, |at| from + at + 1);
            out.push_str("' '");
        } else {
            let c = rest.chars().next().unwrap();
            out.push(c);
            i += c.len_utf8();
        }
    }
    out
}

/// How many `#` a raw string that starts here has.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines of `code` on which `word` stands by itself.
fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut from = 0;
        while let Some(at) = line[from..].find(word) {
            let (start, end) = (from + at, from + at + word.len());
            let bare = |c: Option<char>| c.is_none_or(|c| !is_word(c));
            if bare(line[..start].chars().next_back()) && bare(line[end..].chars().next()) {
                lines.push(number + 1);
                break;
            }
            from = end;
        }
    }
    lines
}

fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

/// The modules in the order of `src/lib.rs`.
fn modules(all: &[Source]) -> Vec<String> {
    let lib = all.iter().find(|s| s.path == "src/lib.rs").unwrap();
    lib.text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(String::from)
        .collect()
}

/// The first path segments behind every `crate::`.
fn crate_imports(code: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        let dollar_or_word = rest[..at].ends_with(|c| is_word(c) || c == '$');
        rest = &rest[at + "crate::".len()..];
        if dollar_or_word {
            continue;
        }
        let segment = |text: &str| -> String { text.chars().take_while(|&c| is_word(c)).collect() };
        let Some(group) = rest.strip_prefix('{') else {
            out.push(segment(rest));
            continue;
        };
        let mut depth = 0;
        let mut fresh = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if is_word(c) && fresh && depth == 0 => {
                    out.push(segment(&group[i..]));
                    fresh = false;
                }
                _ => {}
            }
        }
    }
    out
}

#[test]
fn modules_import_only_from_those_above_them() {
    let all = sources();
    let order = modules(&all);
    assert!(order.len() >= 12, "lib.rs was not understood: {order:?}");
    let mut faults = Vec::new();
    for source in all
        .iter()
        .filter(|s| is_rust(s) && !s.path.ends_with("/tests.rs"))
    {
        let Some(inside) = source.path.strip_prefix("src/") else {
            continue;
        };
        let own = inside.split(['/', '.']).next().unwrap();
        let Some(rank) = order.iter().position(|m| m == own) else {
            if !["lib", "main"].contains(&own) {
                faults.push(format!(
                    "{}: `{own}` is not a module of lib.rs",
                    source.path
                ));
            }
            continue;
        };
        let narrower = NARROWER
            .iter()
            .find(|(m, _)| *m == own)
            .map(|(_, list)| *list);
        for import in crate_imports(&code(source)) {
            let Some(of) = order.iter().position(|m| *m == import) else {
                continue;
            };
            let allowed = of == rank
                || of < rank && narrower.is_none_or(|list| list.contains(&import.as_str()));
            if !allowed {
                faults.push(format!(
                    "{}: `{own}` may not import `{import}`",
                    source.path
                ));
            }
        }
    }
    assert_none("imports against the order of src/lib.rs", &faults);
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| is_rust(s)) {
        if UNSAFE_FOLDERS.iter().any(|f| source.path.starts_with(f)) {
            continue;
        }
        for line in lines_with(&code(source), "unsafe") {
            faults.push(format!("{}:{line}", source.path));
        }
    }
    assert_none("unsafe outside its folders", &faults);
}

#[test]
fn only_the_command_line_prints() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| is_rust(s)) {
        let printer = source.path.starts_with("src/cli/") || source.path == "src/main.rs";
        if !source.path.starts_with("src/") || printer {
            continue;
        }
        let code = code(source);
        for name in [
            "print", "println", "eprint", "eprintln", "dbg", "stdout", "stderr",
        ] {
            for line in lines_with(&code, name) {
                let text = code.lines().nth(line - 1).unwrap();
                // `Command::stdout(Stdio::piped())` and `output.stderr` are about other processes.
                let macro_call = text.contains(&format!("{name}!"));
                let own_stream = text.contains(&format!("io::{name}()"));
                if macro_call || own_stream {
                    faults.push(format!("{}:{line}: {name}", source.path));
                }
            }
        }
    }
    assert_none("printing outside src/cli", &faults);
}

#[test]
fn only_import_names_tract() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| is_rust(s)) {
        if source.path.starts_with("src/import/") || source.path.starts_with("tests/") {
            continue;
        }
        for name in ["tract_onnx", "tract_core", "tract_hir", "tract"] {
            for line in lines_with(&code(source), name) {
                faults.push(format!("{}:{line}", source.path));
            }
        }
    }
    assert_none("tract outside src/import", &faults);
}

#[test]
fn only_one_file_names_probe_rs() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| is_rust(s)) {
        if source.path == "src/bench/probe/usb.rs" {
            continue;
        }
        for line in lines_with(&code(source), "probe_rs") {
            faults.push(format!("{}:{line}", source.path));
        }
    }
    assert_none("probe-rs outside src/bench/probe/usb.rs", &faults);
}

#[test]
fn anyhow_is_for_the_binary() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| is_rust(s)) {
        if source.path.starts_with("src/") && source.path != "src/main.rs" {
            for line in lines_with(&code(source), "anyhow") {
                faults.push(format!("{}:{line}", source.path));
            }
        }
    }
    assert_none("anyhow in the library", &faults);
}

#[test]
fn every_module_and_file_says_what_it_is() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| is_rust(s)) {
        if !source.text.starts_with("//!") {
            faults.push(source.path.clone());
        }
    }
    assert_none("files without a `//!` line at the top", &faults);
}

#[test]
fn files_stay_short() {
    let mut faults = Vec::new();
    for source in &sources() {
        let lines = source.text.lines().count();
        let written = is_rust(source) || source.path.ends_with(".j2");
        if written && lines > MAX_LINES {
            faults.push(format!(
                "{}: {lines} lines, {MAX_LINES} at most",
                source.path
            ));
        }
    }
    assert_none("long files", &faults);
}

/// Written in halves, so that this file does not hold them.
const FORBIDDEN: &[(&str, &str)] = &[
    ("to", "do!("),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("HA", "CK"),
    ("/wo", "rk/"),
    ("../sha", "red"),
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("clau", "de"),
    ("anth", "ropic"),
    ("BRIEF", ".md"),
    ("engi", "neer's worktree"),
];

#[test]
fn nothing_unfinished_and_nothing_of_the_workplace() {
    let mut faults = Vec::new();
    for source in &sources() {
        for (a, b) in FORBIDDEN {
            let word = format!("{a}{b}");
            for (i, line) in source.text.lines().enumerate() {
                if line.contains(&word) {
                    faults.push(format!("{}:{}: {word}", source.path, i + 1));
                }
            }
        }
    }
    assert_none("forbidden words", &faults);
}

#[test]
fn no_trailing_whitespace_and_a_newline_at_the_end() {
    let mut faults = Vec::new();
    for source in &sources() {
        for (i, line) in source.text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                faults.push(format!("{}:{}", source.path, i + 1));
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            faults.push(format!("{}: no newline at the end", source.path));
        }
    }
    assert_none("whitespace", &faults);
}

/// Constant and code of every row of the table in `src/diag.rs`.
fn diagnostics(all: &[Source]) -> BTreeMap<String, String> {
    let diag = all.iter().find(|s| s.path == "src/diag.rs").unwrap();
    let mut out = BTreeMap::new();
    for line in diag.text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(code)) = (words.next(), words.next()) {
            let code = code.trim_matches('"');
            let is_code = code.len() == 4
                && code.starts_with('E')
                && code[1..].bytes().all(|b| b.is_ascii_digit());
            if is_code
                && name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            {
                out.insert(name.to_string(), code.to_string());
            }
        }
    }
    out
}

/// The test code of a file: all of it under `tests/` and in files of tests, else what follows
/// `#[cfg(test)]`.
fn test_code(source: &Source) -> &str {
    if source.path == "tests/tidy.rs" {
        return "";
    }
    if source.path.starts_with("tests/") || source.path.ends_with("/tests.rs") {
        return &source.text;
    }
    match source.text.find("#[cfg(test)]\nmod tests {") {
        Some(at) => &source.text[at..],
        None => "",
    }
}

#[test]
fn every_diagnostic_is_reported_and_provoked() {
    let all = sources();
    let rows = diagnostics(&all);
    assert!(rows.len() > 20, "diag.rs was not understood");
    // Without the table itself, but with the constructors that follow it.
    let used: Vec<String> = all
        .iter()
        .filter(|s| s.path.starts_with("src/") && is_rust(s) && !s.path.ends_with("/tests.rs"))
        .map(|s| match s.text.split_once("/// One finding.\n") {
            Some((_, behind)) if s.path == "src/diag.rs" => behind.to_string(),
            _ => code(s),
        })
        .collect();
    let mut faults = Vec::new();
    for (name, code) in &rows {
        if used.iter().all(|text| lines_with(text, name).is_empty()) {
            faults.push(format!("{code} {name} is reported nowhere"));
        }
        // Recorded texts hold `error[E123]`; tests name the constant or the quoted code.
        let provoked = all.iter().any(|s| {
            let text = test_code(s);
            let recorded = text.contains(&format!("[{code}]"));
            let asserted = is_rust(s)
                && (text.contains(&format!("\"{code}\"")) || !lines_with(text, name).is_empty());
            recorded || asserted
        });
        if !provoked {
            faults.push(format!("{code} {name} is provoked by no test"));
        }
    }
    assert_none("diagnostic codes", &faults);
}

#[test]
fn the_readme_names_every_verb() {
    let all = sources();
    let args = all.iter().find(|s| s.path == "src/cli/args.rs").unwrap();
    let (_, body) = args.text.split_once("pub enum Verb {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let verbs: Vec<String> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| {
            line.chars()
                .take_while(|&c| is_word(c))
                .collect::<String>()
                .to_lowercase()
        })
        .collect();
    assert!(verbs.len() >= 10, "args.rs was not understood: {verbs:?}");
    let readme = all
        .iter()
        .find(|s| s.path == "README.md")
        .expect("there is a README.md");
    let missing: Vec<String> = verbs
        .into_iter()
        .filter(|verb| !readme.text.contains(&format!("nestc {verb}")))
        .collect();
    assert_none("verbs that README.md does not name", &missing);
}

#[test]
fn invariants_name_tests_that_exist() {
    let all = sources();
    let map = all
        .iter()
        .find(|s| s.path == "ARCHITECTURE.md")
        .expect("there is an ARCHITECTURE.md");
    let code: String = all
        .iter()
        .filter(|s| is_rust(s))
        .map(|s| s.text.as_str())
        .collect();
    let mut named = 0;
    let mut faults = Vec::new();
    for part in map.text.split("(held by `").skip(1) {
        let Some((test, _)) = part.split_once('`') else {
            continue;
        };
        named += 1;
        let function = test.rsplit("::").next().unwrap();
        if !code.contains(&format!("fn {function}(")) {
            faults.push(test.to_string());
        }
    }
    assert!(named >= 5, "ARCHITECTURE.md names {named} tests");
    assert_none("tests named in ARCHITECTURE.md that do not exist", &faults);
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let source = Source {
        path: "x.rs".into(),
        text: "a; // unsafe\n\"unsafe \\\" unsafe\"; r#\"unsafe\"#; 'u'; '\\''; &'static b; /* unsafe */\n#[cfg(test)]\nmod tests { unsafe }\n".into(),
    };
    let code = code(&source);
    assert!(lines_with(&code, "unsafe").is_empty(), "{code}");
    assert!(code.contains("&'static b"), "{code}");
    assert_eq!(
        crate_imports("use crate::{a::{b, c}, d}; crate::e::f; $crate::g; xcrate::h"),
        ["a", "d", "e"]
    );
}
