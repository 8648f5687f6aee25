"""The panel's widgets: each shows a part of the session and passes on what the user does. Only PythonQt's subset of Qt
that PySide6 has too: no getter that is also a property, no setter on ctk and qMRML widgets that is not a slot."""
