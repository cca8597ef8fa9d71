"""Files and folders, opened so that nobody can lead a program astray."""
