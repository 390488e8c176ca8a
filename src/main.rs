//! The program with the built-in generator and processors.

fn main() -> std::process::ExitCode {
    kafka_actors::Program::new().run()
}
