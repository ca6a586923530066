"""Program text: always unverified, and searched for the few shapes that nobody writes in good faith."""
